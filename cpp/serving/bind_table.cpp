// Bindings of the posterior table.
#include <cmath>
#include <memory>
#include <tuple>

#include "serving/fetched.hpp"
#include "serving/python_values.hpp"

namespace mlkit::serving {
namespace {

using Time = std::optional<double>;

// The weight of a table's evidence at a time; without one: now.
double weight_of(const PosteriorTable& table, const Time& at) {
  return at ? table.weight(*at) : present_weight(table);
}

Fetched fetch(const std::shared_ptr<PosteriorTable>& table, const std::optional<py::str>& context,
              const std::optional<py::list>& candidates, const Time& at) {
  const double weight = weight_of(*table, at);
  const auto from = id_of(context, "context");
  if (!candidates) {
    const py::gil_scoped_release release;
    return {table, table->fetch_all(from, weight)};
  }
  // The tuple keeps the strings while another thread may change the list.
  auto names = py::reinterpret_steal<py::tuple>(PyList_AsTuple(candidates->ptr()));
  if (!names) throw py::error_already_set();
  const Ids ids = ids_of(names, "candidates");
  std::vector<double> a(ids.size()), b(ids.size());
  Unknown unknown;
  {
    const py::gil_scoped_release release;
    unknown = table->fetch(from, ids, a.data(), b.data(), weight);
  }
  return {std::move(names), std::move(a), std::move(b), unknown};
}

PosteriorTable create(const std::string& path, std::uint64_t arms, std::uint64_t contexts,
                      std::uint64_t posteriors, std::uint64_t id_bytes,
                      std::pair<double, double> prior, double shrinkage, double half_life,
                      double base) {
  return PosteriorTable::create(path, {arms, contexts, posteriors, id_bytes},
                                {prior.first, prior.second}, shrinkage, {half_life, base});
}

using Buffers = std::pair<py::array, py::array>;

void load_arms(PosteriorTable& table, const Buffers& ids, const Numbers& a, const Numbers& b,
               const Numbers& pulls) {
  const StringBuffers names(ids, "ids");
  const auto as = parameters(a, "a", names.rows()), bs = parameters(b, "b", names.rows());
  const auto numbers = counts(pulls, names.rows());
  const py::gil_scoped_release release;
  table.load_arms(names.ids(), as.data(), bs.data(), numbers.data());
}

void load_contexts(PosteriorTable& table, const Buffers& contexts, const Buffers& arms,
                   const Numbers& a, const Numbers& b, const Numbers& pulls) {
  const StringBuffers froms(contexts, "contexts"), names(arms, "arms");
  if (froms.rows() != names.rows()) reject("contexts", "as many as arms are expected");
  const auto as = parameters(a, "a", names.rows()), bs = parameters(b, "b", names.rows());
  const auto numbers = counts(pulls, names.rows());
  const py::gil_scoped_release release;
  table.load_pairs(froms.ids(), names.ids(), as.data(), bs.data(), numbers.data());
}

void put_arm(PosteriorTable& table, const py::str& arm, double a, double b, double pulls,
             double at) {
  table.put_arm(id_of(arm.ptr(), "arm"), posterior_of(a, b, pulls), at);
}

void put_evidence(PosteriorTable& table, const std::optional<py::str>& context, const py::str& arm,
                  double a, double b, double pulls) {
  if (!table.forgets()) reject("evidence", "the table does not forget");
  if (!std::isfinite(a) || !std::isfinite(b)) reject("evidence", "must be finite");
  table.put_evidence(id_of(context, "context"), id_of(arm.ptr(), "arm"), {a, b, pulls});
}

void put_pair(PosteriorTable& table, const py::str& context, const py::str& arm, double a, double b,
              double pulls) {
  table.put_pair(id_of(context.ptr(), "context"), id_of(arm.ptr(), "arm"),
                 posterior_of(a, b, pulls));
}

bool remove_arm(PosteriorTable& table, const py::str& arm) {
  return table.remove_arm(id_of(arm.ptr(), "arm"));
}

bool add_reward(PosteriorTable& table, const std::optional<py::str>& context, const py::str& arm,
                double reward, double examined, double at, bool withdrawn) {
  if (!(reward >= 0 && reward <= 1)) reject("reward", "must be from 0 to 1");
  if (!(examined > 0 && examined <= 1)) reject("examined", "must be above 0, up to 1");
  return table.add_reward(id_of(context, "context"), id_of(arm.ptr(), "arm"), reward,
                          {examined, at, withdrawn});
}

using Row = std::tuple<double, double, double>;

std::optional<Row> row_of(const std::optional<Posterior>& posterior) {
  if (!posterior) return std::nullopt;
  return Row{posterior->a, posterior->b, posterior->pulls};
}

std::vector<std::tuple<py::str, double, double, double>> arms(const PosteriorTable& table,
                                                              const std::optional<py::str>& after,
                                                              std::size_t limit, const Time& at) {
  const double weight = weight_of(table, at);
  const auto start = id_of(after, "after");
  std::vector<NamedPosterior> page;
  {
    const py::gil_scoped_release release;
    page = table.arms(start, limit, weight);
  }
  std::vector<std::tuple<py::str, double, double, double>> rows;
  rows.reserve(page.size());
  for (const auto& [arm, posterior] : page)
    rows.emplace_back(text_of(arm), posterior.a, posterior.b, posterior.pulls);
  return rows;
}

std::vector<py::str> removed_arms(const PosteriorTable& table) {
  std::vector<py::str> names;
  for (const auto arm : table.removed_arms()) names.push_back(text_of(arm));
  return names;
}

py::tuple export_arms(const PosteriorTable& table, const Time& at) {
  const double weight = weight_of(table, at);
  IdColumn ids;
  PosteriorColumns columns;
  {
    const py::gil_scoped_release release;
    table.visit_arms(weight, [&](std::string_view arm, const Posterior& posterior) {
      ids.add(arm);
      columns.add(posterior);
    });
  }
  return py::make_tuple(ids.buffers(), array_of(std::move(columns.a)),
                        array_of(std::move(columns.b)), array_of(std::move(columns.pulls)));
}

py::tuple export_contexts(const PosteriorTable& table, std::uint64_t start, std::uint64_t stop,
                          const Time& at) {
  const double weight = weight_of(table, at);
  IdColumn contexts, names;
  PosteriorColumns columns;
  {
    const py::gil_scoped_release release;
    table.visit_pairs(
        start, stop, weight,
        [&](std::string_view context, std::string_view arm, const Posterior& posterior) {
          contexts.add(context);
          names.add(arm);
          columns.add(posterior);
        });
  }
  return py::make_tuple(contexts.buffers(), names.buffers(), array_of(std::move(columns.a)),
                        array_of(std::move(columns.b)), array_of(std::move(columns.pulls)));
}

using Class = py::class_<PosteriorTable, std::shared_ptr<PosteriorTable>>;

void define_making(Class& table) {
  table
      .def_static("create", &create, py::arg("path"), py::kw_only(), py::arg("arms"),
                  py::arg("contexts"), py::arg("posteriors"), py::arg("id_bytes"), py::arg("prior"),
                  py::arg("shrinkage"), py::arg("half_life") = 0.0, py::arg("base") = 0.0,
                  "Make a new table and be its only writer.\n\n"
                  "A file at the path is unlinked first: who has it open keeps it.\n\n"
                  "Args:\n"
                  "    path: The file; its blocks are reserved at once.\n"
                  "    arms: Room for arms; one that is removed and put again takes two.\n"
                  "    contexts: Room for contexts.\n"
                  "    posteriors: Room for (context, arm) posteriors.\n"
                  "    id_bytes: Room for the UTF-8 of the ids of arms and contexts.\n"
                  "    prior: Parameters (a, b) of an arm that nothing is known of.\n"
                  "    shrinkage: Pseudo-counts of the arm's mean that a (context, arm)\n"
                  "        posterior starts from; above 0.\n"
                  "    half_life: Seconds in which evidence loses half of its weight;\n"
                  "        infinity: it keeps it, and can be replaced; 0: the table does not\n"
                  "        forget.\n"
                  "    base: When stored evidence has the weight 1, in seconds since 1970.\n\n"
                  "Raises:\n"
                  "    ValueError: A size, the prior or the shrinkage is out of range.\n"
                  "    OSError: The file cannot be made, or the disk has no room for it.",
                  py::call_guard<py::gil_scoped_release>())
      .def_static("open", &PosteriorTable::open, py::arg("path"),
                  "Open a table for reading.\n\n"
                  "Changes of the writer show at once; of a reward, a, b and pulls show one\n"
                  "after another. The file must not be truncated while it is open.\n\n"
                  "Raises:\n"
                  "    ValueError: The file is not a whole table of this version.\n"
                  "    OSError: The file cannot be opened.",
                  py::call_guard<py::gil_scoped_release>())
      .def("load_arms", &load_arms, py::arg("ids"), py::arg("a"), py::arg("b"), py::arg("pulls"),
           "Add many new arms.\n\n"
           "Args:\n"
           "    ids: Offsets (int32 or int64) and bytes of an Arrow string array of n ids.\n"
           "    a: Shape (n,), from 1e-300 to 1e15.\n"
           "    b: Shape (n,), from 1e-300 to 1e15.\n"
           "    pulls: Shape (n,), from 0 to 1e15.\n\n"
           "Raises:\n"
           "    ValueError: A value is out of range, or a row's arm is there already; the\n"
           "        message names the row, and the rows before it stay.\n"
           "    TableFull: There is no room; the rows that fitted stay.")
      .def("load_contexts", &load_contexts, py::arg("contexts"), py::arg("arms"), py::arg("a"),
           py::arg("b"), py::arg("pulls"),
           "Add many new (context, arm) posteriors of arms that are there.\n\n"
           "Args:\n"
           "    contexts: Offsets and bytes of an Arrow string array of n ids.\n"
           "    arms: The same of the arms' ids.\n"
           "    a: Shape (n,), from 1e-300 to 1e15.\n"
           "    b: Shape (n,), from 1e-300 to 1e15.\n"
           "    pulls: Shape (n,), rounded to whole numbers, kept up to 2**32 - 1.\n\n"
           "Raises:\n"
           "    ValueError: A value is out of range, a row is there already, or its arm is\n"
           "        not; the message names the row, and the rows before it stay.\n"
           "    TableFull: There is no room; the rows that fitted stay.")
      .def("copy", &PosteriorTable::copy, py::arg("source"),
           py::call_guard<py::gil_scoped_release>(),
           "Take over all arms and posteriors of another table, to grow.\n\n"
           "What removed arms left behind stays there; that they are removed is copied.\n\n"
           "Raises:\n"
           "    TableFull: There is no room; what fitted stays.");
}

void define_changes(Class& table) {
  table
      .def("put_arm", &put_arm, py::arg("arm"), py::arg("a"), py::arg("b"), py::arg("pulls") = 0.0,
           py::arg("at") = 0.0,
           "Add an arm, or set the posterior of one that is there.\n\n"
           "An arm that was removed starts again, without its (context, arm) posteriors. What\n"
           "differs from the prior is evidence of the time `at`, if the table forgets.\n\n"
           "Raises:\n"
           "    ValueError: The id is too long or has no UTF-8, or a number is out of range.\n"
           "    TableFull: There is no room; nothing was changed.")
      .def("put_pair", &put_pair, py::arg("context"), py::arg("arm"), py::arg("a"), py::arg("b"),
           py::arg("pulls") = 0.0,
           "Add or set the posterior of (context, arm) for an arm that is there.\n\n"
           "Raises:\n"
           "    ValueError: The arm is not there, an id is bad, or a number is out of range.\n"
           "    TableFull: There is no room; nothing was changed.")
      .def("put_evidence", &put_evidence, py::arg("context"), py::arg("arm"), py::arg("a"),
           py::arg("b"), py::arg("pulls") = 0.0,
           "Set what `stored` returns, for an arm (context None), or a pair whose arm is there.\n\n"
           "Raises:\n"
           "    ValueError: The table does not forget, or a value is bad.\n"
           "    TableFull: There is no room; nothing was changed.")
      .def("remove_arm", &remove_arm, py::arg("arm"),
           "Remove an arm and its (context, arm) posteriors; False if it is not there.")
      .def("add_reward", &add_reward, py::arg("context"), py::arg("arm"), py::arg("reward"),
           py::arg("examined") = 1.0, py::arg("at") = 0.0, py::arg("withdrawn") = false,
           "Update the arm's posterior, and the one for the context, by a reward.\n\n"
           "An arm that was never there starts from the prior. A first reward for a context\n"
           "starts from `shrinkage` pseudo-counts of the arm's mean before this reward.\n"
           "Parameters stay from 1e-300 to 1e15.\n\n"
           "Args:\n"
           "    context: The context, or None.\n"
           "    arm: The arm.\n"
           "    reward: From 0 to 1.\n"
           "    examined: Probability that the arm was looked at where it was shown, above 0: a\n"
           "        missing reward counts by the probability that it was looked at and not "
           "taken.\n"
           "    at: When it was earned, in seconds since 1970; of a table that forgets.\n"
           "    withdrawn: Take back a reward that was added.\n\n"
           "Returns:\n"
           "    False, and nothing was changed, if the arm was removed.\n\n"
           "Raises:\n"
           "    ValueError: The reward is not from 0 to 1, or an id is bad.\n"
           "    TableFull: There is no room; nothing was changed.");
}

void define_reading(Class& table) {
  table
      .def("fetch", &fetch, py::arg("context"), py::arg("candidates"), py::arg("at") = py::none(),
           "Fetch the posteriors of many candidates (None: of all arms) for one context.\n\n"
           "A candidate's posterior is that of (context, arm), else the arm's, else the\n"
           "prior. One that appears twice is fetched twice. A table that forgets answers as of\n"
           "`at`, in seconds since 1970 (None: now), here and below.\n\n"
           "Raises:\n"
           "    ValueError: An id is empty, too long or has no UTF-8; the message names its\n"
           "        index.\n"
           "    TypeError: An id is not a str.")
      .def(
          "arm",
          [](const PosteriorTable& self, const py::str& arm, const Time& at) {
            return row_of(self.arm(id_of(arm.ptr(), "arm"), weight_of(self, at)));
          },
          py::arg("arm"), py::arg("at") = py::none(),
          "Read a, b and pulls of an arm; None if it is not there.")
      .def(
          "knows",
          [](const PosteriorTable& self, const py::str& arm) {
            return self.knows(id_of(arm.ptr(), "arm"));
          },
          py::arg("arm"), "Return whether an arm is there, or was there and has been removed.")
      .def(
          "pair",
          [](const PosteriorTable& self, const py::str& context, const py::str& arm,
             const Time& at) {
            return row_of(self.pair(id_of(context.ptr(), "context"), id_of(arm.ptr(), "arm"),
                                    weight_of(self, at)));
          },
          py::arg("context"), py::arg("arm"), py::arg("at") = py::none(),
          "Read a, b and pulls of (context, arm); None if it has no posterior of its own.")
      .def(
          "stored",
          [](const PosteriorTable& self, const std::optional<py::str>& context,
             const py::str& arm) {
            return row_of(self.stored(id_of(context, "context"), id_of(arm.ptr(), "arm")));
          },
          py::arg("context"), py::arg("arm"),
          "Read what is stored of an arm (context None) or a pair: of a table that forgets, the\n"
          "evidence in the weight of the base. None if it is not there.")
      .def("arms", &arms, py::arg("after") = py::none(), py::arg("limit") = 1000,
           py::arg("at") = py::none(),
           "List arms with a, b and pulls, in the order of their ids' code points.\n\n"
           "Args:\n"
           "    after: Start behind this id, whether it is there or not.\n"
           "    limit: The most arms to list.")
      .def("removed_arms", &removed_arms, "List the ids of the arms that are removed.")
      .def("export_arms", &export_arms, py::arg("at") = py::none(),
           "Copy all arms: ids as Arrow offsets and bytes, a, b and pulls.")
      .def("export_contexts", &export_contexts, py::arg("start"), py::arg("stop"),
           py::arg("at") = py::none(),
           "Copy the (context, arm) posteriors of a range of records.\n\n"
           "Args:\n"
           "    start: The first record.\n"
           "    stop: Behind the last one; `used()[\"posteriors\"]` records are there. Those\n"
           "        of removed arms are left out.\n\n"
           "Returns:\n"
           "    Contexts and arms as Arrow offsets and bytes, a, b and pulls.");
}

}  // namespace

void register_table(py::module_& m) {
  Class table(m, "PosteriorTable",
              "Posteriors of arms and of (context, arm) pairs in a file that processes share.\n\n"
              "The process that creates it writes, others open it and read meanwhile. Ids are\n"
              "UTF-8 of 1 to 256 bytes.");
  define_making(table);
  define_changes(table);
  define_reading(table);
  table.def("__len__", &PosteriorTable::count_arms, "Count the arms that are there.")
      .def(
          "size",
          [](const PosteriorTable& self) {
            return std::pair(self.count_arms(), self.used().posteriors);
          },
          "Count the arms that are there, and the (context, arm) posteriors.")
      .def(
          "capacity", [](const PosteriorTable& self) { return dict_of(self.capacity()); },
          "Return the capacity for arms, contexts, posteriors and id_bytes.")
      .def(
          "used", [](const PosteriorTable& self) { return dict_of(self.used()); },
          "Return how much of the capacity is used, removed arms included.")
      .def_property_readonly(
          "prior",
          [](const PosteriorTable& self) { return std::pair(self.prior().a, self.prior().b); },
          "Parameters (a, b) of an arm that nothing is known of.")
      .def_property_readonly(
          "half_life", [](const PosteriorTable& self) { return self.forgetting().half_life; },
          "Seconds in which evidence loses half of its weight; 0: the table does not forget.")
      .def_property_readonly(
          "base", [](const PosteriorTable& self) { return self.forgetting().base; },
          "When stored evidence has the weight 1, in seconds since 1970.")
      .def_property_readonly("shrinkage", &PosteriorTable::shrinkage,
                             "Pseudo-counts that a (context, arm) posterior starts from.");
}

}  // namespace mlkit::serving
