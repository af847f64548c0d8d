// A worker: echoes typed variables, fails, throws, keeps a lock, and stops at the topic "stop".
import { Client, File, Variables } from "camunda-external-task-client-js";

const baseUrl = process.argv[2];
const client = new Client({ baseUrl, workerId: "js", maxTasks: 5, asyncResponseTimeout: 10000,
  interval: 10, usePriority: true, sorting: [{ sortBy: "createTime", sortOrder: "asc" }] });
const say = (name, value) => console.log(JSON.stringify({ name, value }));
["complete", "handleFailure", "handleBpmnError", "extendLock", "lock", "unlock"].forEach((each) =>
  client.on(`${each}:error`, (task, error) => say(`${each}:error`, String(error))));
client.on("poll:error", (error) => say("poll:error", String(error)));

client.subscribe("echo", { lockDuration: 60000 }, async ({ task, taskService }) => {
  const back = new Variables();
  const local = new Variables();
  for (const [name, given] of Object.entries(task.variables.getAllTyped())) {
    if (given.type === "file") {
      await given.value.load();
      say(name, given.value.content.toString());
      const file = new File({ localPath: process.argv[1] });
      Object.assign(file, { content: given.value.content, filename: given.value.filename,
        mimetype: given.value.mimetype, encoding: given.value.encoding });
      back.setTyped(`${name}_back`, { type: "file", value: file, valueInfo: {} });
    } else {
      say(name, given.value);
      back.setTyped(`${name}_back`, given);
    }
  }
  back.set("plain", { list: [1, 2.5, "x"], when: null });
  local.set("mine", 1);
  await taskService.complete(task, back, local);
});
client.subscribe("fail", async ({ task, taskService }) => {
  await taskService.extendLock(task, 60000);
  await taskService.handleFailure(task, { errorMessage: "no luck", errorDetails: "trace\nline",
    retries: 0, retryTimeout: 10 });
});
client.subscribe("throw", async ({ task, taskService }) => {
  await taskService.handleBpmnError(task, "REJECTED", "too much", new Variables().set("code", 7));
});
client.subscribe("stop", async ({ task, taskService }) => {
  await taskService.complete(task);
  client.stop();
  process.exit(0);
});
