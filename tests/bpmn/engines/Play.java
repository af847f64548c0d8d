import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.camunda.bpm.engine.ProcessEngine;
import org.camunda.bpm.engine.history.HistoricVariableInstance;
import org.camunda.bpm.engine.impl.cfg.StandaloneInMemProcessEngineConfiguration;
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
        try {
            Map<String, Object> given = Map.of("x", 1, "y", 0, "items", Arrays.asList(1, 2, 3), "total", 0, "log", "");
            String id = engine.getRuntimeService().startProcessInstanceByKey("p", "key", given).getId();
            String state = run(id, steps);
            return String.join(";", steps) + "|" + state + "|" + variables(id);
        } catch (Exception error) {
            return String.join(";", steps) + "|exception|";
        } finally {
            engine.getRepositoryService().deleteDeployment(deployment, true);
        }
    }

    /** Completes, of the open tasks in the order of their ids, the one whose turn it is. */
    String run(String id, List<String> steps) {
        for (int step = 0; ; step++) {
            List<Task> open = new ArrayList<>(engine.getTaskService().createTaskQuery().list());
            open.sort((a, b) -> a.getTaskDefinitionKey().compareTo(b.getTaskDefinitionKey()));
            steps.add(open.stream().map(Task::getTaskDefinitionKey).collect(Collectors.joining(",")));
            if (open.isEmpty() || step == STEPS) {
                boolean runs = engine.getRuntimeService().createProcessInstanceQuery()
                    .processInstanceId(id).count() > 0;
                return !runs ? "completed" : open.isEmpty() ? "stuck" : "waiting";
            }
            engine.getTaskService().complete(open.get(step % open.size()).getId());
        }
    }

    String variables(String id) {
        Map<String, Object> found = new TreeMap<>();
        for (HistoricVariableInstance each : engine.getHistoryService().createHistoricVariableInstanceQuery()
                .processInstanceId(id).activityInstanceIdIn(id).list()) {
            found.put(each.getName(), each.getValue());
        }
        return found.toString();
    }
}
