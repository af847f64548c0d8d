import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.kie.dmn.api.core.DMNContext;
import org.kie.dmn.api.core.DMNModel;
import org.kie.dmn.api.core.DMNRuntime;
import org.kie.dmn.core.internal.utils.DMNRuntimeBuilder;
import org.kie.dmn.feel.FEEL;
import org.kie.dmn.feel.lang.impl.FEELBuilder;
import org.kie.internal.io.ResourceFactory;

/**
 * Answers each line, a file, a decision and a context in FEEL with tabs between, with what Kie decides.
 * With four arguments (a file, a decision, a context, seconds) it prints how many decisions a second it takes.
 */
public class Decide {
    static final FEEL FEEL_ENGINE = FEELBuilder.builder().build();
    static final Map<String, DMNRuntime> RUNTIMES = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 4) {
            measure(arguments[0], arguments[1], arguments[2], Double.parseDouble(arguments[3]));
            return;
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] asked = line.split("\t", 3);
            System.out.println(answer(asked[0], asked[1], asked[2]).replace("\n", " "));
        }
    }

    static String answer(String file, String decision, String context) {
        try {
            return Answers.written(decide(runtime(file), decision, inputs(context)));
        } catch (RuntimeException error) {
            return "failed";
        }
    }

    static DMNRuntime runtime(String file) {
        return RUNTIMES.computeIfAbsent(file, name -> DMNRuntimeBuilder.fromDefaults().buildConfiguration()
            .fromResources(List.of(ResourceFactory.newFileResource(new File(name))))
            .getOrElseThrow(RuntimeException::new));
    }

    static Map<String, Object> inputs(String context) {
        Map<String, Object> found = new HashMap<>();
        ((Map<?, ?>) FEEL_ENGINE.evaluate(context)).forEach((name, each) -> found.put((String) name, each));
        return found;
    }

    static Object decide(DMNRuntime runtime, String decision, Map<String, Object> inputs) {
        DMNModel model = runtime.getModels().get(0);
        DMNContext context = runtime.newContext();
        inputs.forEach(context::set);
        return runtime.evaluateByName(model, context, decision).getDecisionResultByName(decision).getResult();
    }

    /** Warms up as long as it measures. */
    static void measure(String file, String decision, String context, double seconds) {
        DMNRuntime runtime = runtime(file);
        Map<String, Object> inputs = inputs(context);
        rate(runtime, decision, inputs, seconds);
        System.out.println(rate(runtime, decision, inputs, seconds));
    }

    static double rate(DMNRuntime runtime, String decision, Map<String, Object> inputs, double seconds) {
        var threads = java.lang.management.ManagementFactory.getThreadMXBean();
        long count = 0, start = threads.getCurrentThreadCpuTime(), spent = 0;
        while (spent < seconds * 1e9) {
            for (int each = 0; each < 100; each++) decide(runtime, decision, inputs);
            count += 100;
            spent = threads.getCurrentThreadCpuTime() - start;
        }
        return count / (spent / 1e9);
    }
}
