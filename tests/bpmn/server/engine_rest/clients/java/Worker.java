import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.camunda.bpm.client.ExternalTaskClient;
import org.camunda.bpm.client.variable.ClientValues;
import org.camunda.bpm.engine.variable.Variables;
import org.camunda.bpm.engine.variable.value.FileValue;
import org.camunda.bpm.engine.variable.value.TypedValue;

/** A worker: echoes typed variables, fails, throws, keeps a lock, and stops at the topic "stop". */
public class Worker {
  public static void main(String[] arguments) throws Exception {
    CountDownLatch stopped = new CountDownLatch(1);
    ExternalTaskClient client = ExternalTaskClient.create().baseUrl(arguments[0]).workerId("java")
        .asyncResponseTimeout(10000).maxTasks(5).build();
    client.subscribe("echo").lockDuration(60000).handler((task, service) -> {
      Map<String, Object> back = new HashMap<>();
      for (String name : task.getAllVariables().keySet()) {
        TypedValue value = task.getVariableTyped(name);
        if (value instanceof FileValue) {
          FileValue file = (FileValue) value;
          byte[] content = read(file);
          say(name, Base64.getEncoder().encodeToString(content));
          back.put(name + "_back", Variables.fileValue(file.getFilename())
              .file(content).mimeType(file.getMimeType()).encoding(file.getEncoding()).create());
        } else {
          say(name, String.valueOf(value.getValue()));
          back.put(name + "_back", value);
        }
      }
      back.put("plain", ClientValues.objectValue(List.of(1, 2))
          .serializationDataFormat("application/json").create());
      service.complete(task, back, Map.of("mine", 1));
    }).open();
    client.subscribe("fail").handler((task, service) -> {
      service.extendLock(task, 60000);
      service.handleFailure(task, "no luck", "trace\nline", 0, 10);
    }).open();
    client.subscribe("throw").handler((task, service) ->
        service.handleBpmnError(task, "REJECTED", "too much", Map.of("code", 7))).open();
    client.subscribe("stop").handler((task, service) -> {
      service.complete(task);
      stopped.countDown();
    }).open();
    stopped.await();
    client.stop();
    System.exit(0);
  }

  private static byte[] read(FileValue file) {
    try {
      return file.getValue().readAllBytes();
    } catch (java.io.IOException error) {
      throw new RuntimeException(error);
    }
  }

  private static void say(String name, String value) {
    String text = value.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
    System.out.println("{\"name\": \"" + name + "\", \"value\": \"" + text + "\"}");
  }
}
