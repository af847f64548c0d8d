// What a script meets: its variables as globals, `execution`, `task`, `console`, `print`, `BpmnError`.
// Values come as JSON, with a tag where JSON has no type, and leave in the same way.
"use strict";
globalThis.__run = (() => {
  const evaluate = globalThis.eval, RealDate = Date;
  const { parse, stringify } = JSON;
  const { isArray } = Array;

  const read = (value) => {
    if (value === null || typeof value !== "object") return value;
    if (isArray(value)) return value.map(read);
    const keys = Object.keys(value);
    if (keys.length === 1) {
      const content = value[keys[0]];
      if (keys[0] === "$int") return BigInt(content);
      if (keys[0] === "$datetime") return new RealDate(content);
      if (keys[0] === "$null") return null;
      if (keys[0] === "$json") return parse(content);
      if (keys[0] === "$float") return Number(content.replace("inf", "Infinity"));
    }
    return Object.fromEntries(keys.map((key) => [key, read(value[key])]));
  };

  const number = (value) => {
    if (Number.isNaN(value)) return { $float: "nan" };
    return Number.isFinite(value) ? value : { $float: value > 0 ? "inf" : "-inf" };
  };

  const write = (value, depth = 0) => {
    if (depth > 100) throw new RangeError("a value nests too deeply to be kept");
    if (value === undefined || value === null) return null;
    if (typeof value === "bigint") return { $int: value.toString() };
    if (typeof value === "number") return number(value);
    if (typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value !== "object") throw new TypeError(`a ${typeof value} cannot be kept`);
    if (value instanceof RealDate)
      return { $datetime: value.toISOString().replace("Z", "+00:00") };
    if (isArray(value)) return value.map((each) => write(each, depth + 1));
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    return Object.fromEntries(entries
      .filter(([, each]) => typeof each !== "function")
      .map(([key, each]) => [String(key), write(each, depth + 1)]));
  };

  class BpmnError extends Error {
    constructor(code, message) {
      super(message === undefined ? String(code) : String(message));
      this.code = String(code);
    }
  }

  // A script that is evaluated again must say the same: it knows one moment, and no chance.
  const still = (now) => {
    const still = function (...given) {
      if (new.target === undefined) return new RealDate(now).toString();
      return given.length ? new RealDate(...given) : new RealDate(now);
    };
    still.now = () => now;
    still.parse = RealDate.parse;
    still.UTC = RealDate.UTC;
    still.prototype = RealDate.prototype;
    globalThis.Date = still;
    Math.random = () => { throw new TypeError("Math.random() is not available here"); };
  };

  const getters = (made, facts) => {
    for (const [name, value] of Object.entries(facts)) {
      if (!(name in made)) made[name] = value;
      made["get" + name[0].toUpperCase() + name.slice(1)] = () => value;
    }
    return made;
  };

  return (text) => {
    const { source, variables, facts } = parse(text);
    const known = new Map(Object.entries(variables).map(([name, value]) => [name, read(value)]));
    const written = new Set(source.match(/[\p{L}_$][\p{L}\p{N}_$]*/gu) || []);
    const changes = [], lines = [];
    const given = (name) => {
      if (!known.has(name) && !written.has(name) && !facts.all)
        throw new TypeError(`the name ${stringify(name)} must be written out in the script`);
      return known.has(name) ? known.get(name) : null;
    };
    const change = (kind) => (name, value) => {
      known.set(String(name), value);
      changes.push([kind, String(name), value]);
    };
    // A script task sets variables where it is, by its end; an expression where it assigns, at once.
    const only = (made) => facts.all
      ? () => { throw new TypeError("a script task can only set variables by setVariable"); } : made;
    const remove = (name) => { known.delete(String(name)); changes.push(["removeVariable", name, null]); };
    const access = () => ({
      getVariable: given, getVariableLocal: given, hasVariable: (name) => (given(name), known.has(name)),
      getVariables: () => Object.fromEntries(known), getVariableNames: () => [...known.keys()],
      setVariable: change("setVariable"), removeVariable: only(remove),
      setVariableLocal: only(change("setVariableLocal")),
    });
    const print = (...parts) => { lines.push(parts.map((each) =>
      typeof each === "object" && each !== null ? stringify(write(each)) : String(each)).join(" ")); };
    const names = { execution: getters(access(), facts.execution || {}), print, BpmnError,
      console: { log: print, info: print, warn: print, error: print } };
    for (const bean of ["task", "delegateTask"])
      if (known.has(bean) && facts.listening) names[bean] = getters(access(), known.get(bean));
    Object.assign(globalThis, names);
    for (const [name, value] of known) if (!(name in globalThis)) globalThis[name] = value;
    if (facts.now !== undefined) still(facts.now);
    try {
      const value = write(evaluate(source));
      const made = changes.map(([kind, name, each]) => [kind, name, write(each)]);
      return stringify({ value, changes: made, printed: lines.map((each) => each + "\n").join("") });
    } catch (error) {
      if (!(error instanceof BpmnError)) throw error;
      return stringify({ error: { code: error.code, message: error.message } });
    }
  };
})();
