import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.time.Duration;
import java.time.Period;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.camunda.feel.api.FeelEngineApi;
import org.camunda.feel.api.FeelEngineBuilder;
import org.kie.dmn.feel.FEEL;
import org.kie.dmn.feel.lang.impl.FEELBuilder;
import org.kie.dmn.feel.lang.types.impl.ComparablePeriod;

/** Answers each line, an expression, with what two engines say: Kie, a tab, feel-scala. */
public class Answers {
    public static void main(String[] arguments) throws Exception {
        FEEL kie = FEELBuilder.builder().build();
        FeelEngineApi scala = FeelEngineBuilder.forJava().build();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = lines.readLine()) != null; ) {
            System.out.println(ofKie(kie, line) + "\t" + ofScala(scala, line));
        }
    }

    static String ofKie(FEEL kie, String text) {
        try {
            return written(kie.evaluate(text));
        } catch (RuntimeException error) {
            return "failed";
        }
    }

    static String ofScala(FeelEngineApi scala, String text) {
        try {
            var found = scala.evaluateExpression(text, new HashMap<String, Object>());
            return found.isSuccess() ? written(found.result()) : "failed";
        } catch (RuntimeException error) {
            return "failed";
        }
    }

    static String written(Object value) {
        if (value instanceof String text) return "'" + text + "'";
        if (value instanceof Number number) {
            BigDecimal exact = new BigDecimal(number.toString());
            return exact.signum() == 0 ? "0" : exact.stripTrailingZeros().toPlainString();
        }
        if (value instanceof ComparablePeriod months) return ComparablePeriod.toTotalMonths(months) + " months";
        if (value instanceof Period months) return months.toTotalMonths() + " months";
        if (value instanceof Duration length) return length.toNanos() + " nanoseconds";
        if (value instanceof List<?> items) {
            List<String> parts = new ArrayList<>();
            items.forEach(each -> parts.add(written(each)));
            return parts.toString();
        }
        if (value instanceof Map<?, ?> entries) {
            Map<String, String> parts = new TreeMap<>();
            entries.forEach((name, each) -> parts.put(String.valueOf(name), written(each)));
            return parts.toString();
        }
        return String.valueOf(value);
    }
}
