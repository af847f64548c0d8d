import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.camunda.bpm.engine.ExternalTaskService;
import org.camunda.bpm.engine.ProcessEngine;
import org.camunda.bpm.engine.externaltask.ExternalTask;
import org.camunda.bpm.engine.history.HistoricVariableInstance;
import org.camunda.bpm.engine.impl.cfg.StandaloneInMemProcessEngineConfiguration;
import org.camunda.bpm.engine.impl.util.ClockUtil;
import org.camunda.bpm.engine.runtime.Job;
import org.camunda.bpm.engine.task.Task;

/** Plays each diagram of a folder; one line each: name|open tasks by step|state|variables. */
class Play {
    static final int STEPS = 30;
    final ProcessEngine engine;

    Play() {
        var chosen = new StandaloneInMemProcessEngineConfiguration();
        chosen.setJdbcUrl("jdbc:h2:mem:comparison;DB_CLOSE_DELAY=-1");
        chosen.setEnforceHistoryTimeToLive(false);
        chosen.setJobExecutorActivate(false);
        chosen.setMetricsEnabled(false);
        chosen.setHistory("full");
        chosen.setScriptEngineNameJavaScript("nashorn");
        engine = chosen.buildProcessEngine();
    }

    public static void main(String[] folder) throws Exception {
        Play play = new Play();
        try (Stream<Path> files = Files.list(Path.of(folder[0]))) {
            for (Path each : files.sorted().collect(Collectors.toList())) {
                System.out.println(each.getFileName() + "|" + play.play(each));
            }
        }
    }

    String play(Path file) throws Exception {
        List<String> steps = new ArrayList<>();
        String deployment = engine.getRepositoryService().createDeployment()
            .addInputStream(file.getFileName().toString(), Files.newInputStream(file)).deploy().getId();
        ClockUtil.setCurrentTime(new Date(0));
        try {
            Map<String, Object> given = Map.of("x", 1, "y", 0, "items", Arrays.asList(1, 2, 3), "total", 0, "log", "");
            String id = engine.getRuntimeService().startProcessInstanceByKey("p", "key", given).getId();
            String state = run(id, steps);
            return String.join(";", steps) + "|" + state + "|" + variables(id);
        } catch (Exception error) {
            return String.join(";", steps) + "|exception|";
        } finally {
            engine.getRepositoryService().deleteDeployment(deployment, true, true, true);
        }
    }

    /** Takes, of the open tasks in the order of their ids, those of workers and the first timer, what has its turn. */
    String run(String id, List<String> steps) {
        for (int step = 0; ; step++) {
            List<Task> open = new ArrayList<>(engine.getTaskService().createTaskQuery().list());
            open.sort((a, b) -> a.getTaskDefinitionKey().compareTo(b.getTaskDefinitionKey()));
            List<String> names = open.stream().map(Task::getTaskDefinitionKey).collect(Collectors.toList());
            List<ExternalTask> external = new ArrayList<>(engine.getExternalTaskService().createExternalTaskQuery().list());
            external.sort(Comparator.comparing(ExternalTask::getActivityId));
            external.forEach(each -> names.add(each.getActivityId()));
            Optional<Job> timer = engine.getManagementService().createJobQuery().list().stream()
                .min(Comparator.comparing(Job::getDuedate).thenComparing(this::activity));
            timer.ifPresent(first -> names.add(activity(first)));
            steps.add(String.join(",", names));
            if (names.isEmpty() || step == STEPS) {
                boolean runs = engine.getRuntimeService().createProcessInstanceQuery()
                    .processInstanceId(id).count() > 0;
                return !runs ? "completed" : names.isEmpty() ? "stuck" : "waiting";
            }
            int turn = step % names.size();
            if (turn < open.size()) {
                engine.getTaskService().complete(open.get(turn).getId());
            } else if (turn < open.size() + external.size()) {
                work(external.get(turn - open.size()), step);
            } else {
                // A moment later: at the very time of its last firing a cycle is not over yet.
                ClockUtil.setCurrentTime(new Date(timer.get().getDuedate().getTime() + 1));
                engine.getManagementService().executeJob(timer.get().getId());
            }
        }
    }

    /** Does what the topic of an external task says. */
    void work(ExternalTask task, int step) {
        ExternalTaskService service = engine.getExternalTaskService();
        service.lock(task.getId(), "w", 1000);
        boolean first = task.getRetries() == null;
        switch (first ? task.getTopicName() : "again") {
            case "set": service.complete(task.getId(), "w", Map.of("set", step)); break;
            case "local": service.complete(task.getId(), "w", null, Map.of("part", step)); break;
            case "fail": service.handleFailure(task.getId(), "w", "down", 1, 0); break;
            case "judged": service.handleFailure(task.getId(), "w", step % 2 > 0 ? "again" : "down", 1, 0); break;
            case "again": service.complete(task.getId(), "w"); break;
            default: service.handleBpmnError(task.getId(), "w", "E1", "bad", Map.of("thrown", step));
        }
    }

    String activity(Job job) {
        return engine.getManagementService().createJobDefinitionQuery()
            .jobDefinitionId(job.getJobDefinitionId()).singleResult().getActivityId();
    }

    String variables(String id) {
        Map<String, Object> found = new TreeMap<>();
        for (HistoricVariableInstance each : engine.getHistoryService().createHistoricVariableInstanceQuery()
                .processInstanceId(id).activityInstanceIdIn(id).list()) {
            // JavaScript has one kind of number.
            boolean whole = each.getValue() instanceof Double number && number % 1 == 0;
            found.put(each.getName(), whole ? ((Double) each.getValue()).longValue() : each.getValue());
        }
        return found.toString();
    }
}
