package mlkit;

import com.sun.management.OperatingSystemMXBean;
import com.zaxxer.hikari.HikariDataSource;
import java.lang.management.ManagementFactory;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** Keeps instances of ten asynchronous tasks in flight, and prints how many end in a second. */
final class Load {
    static final int TASKS = 10;
    static final int IN_FLIGHT = 32;
    private static final AtomicLong ENDED = new AtomicLong();
    private static final Semaphore FREE = new Semaphore(IN_FLIGHT);

    private Load() {}

    static HikariDataSource connect(String url) {
        HikariDataSource found = new HikariDataSource();
        found.setJdbcUrl(url);
        found.setMaximumPoolSize(8);
        found.setTransactionIsolation("TRANSACTION_READ_COMMITTED");
        return found;
    }

    /** Ten tasks in sequence, each a job and a commit of its own, and one that counts. */
    static String diagram(String namespace, String async) {
        StringBuilder body = new StringBuilder();
        String before = "s";
        for (int n = 0; n <= TASKS; n++) {
            String work = n < TASKS ? "mlkit.Peer$Nothing' v:" + async + "='true" : "mlkit.Peer$End";
            body.append("<serviceTask id='t").append(n).append("' v:class='").append(work).append("'/>");
            body.append("<sequenceFlow id='f").append(n).append("' sourceRef='").append(before);
            body.append("' targetRef='t").append(n).append("'/>");
            before = "t" + n;
        }
        return "<definitions xmlns='http://www.omg.org/spec/BPMN/20100524/MODEL' targetNamespace='t'"
                + " id='d' xmlns:v='" + namespace + "'><process id='ten' isExecutable='true'>"
                + "<startEvent id='s'/>" + body + "<endEvent id='e'/><sequenceFlow id='last'"
                + " sourceRef='" + before + "' targetRef='e'/></process></definitions>";
    }

    static void end() {
        ENDED.incrementAndGet();
        FREE.release();
    }

    /** Start instances for some seconds; those of the warm-up are not counted. */
    static void run(Runnable start, double warm, double seconds) throws InterruptedException {
        Thread starter = new Thread(() -> {
            while (true) {
                FREE.acquireUninterruptibly();
                start.run();
            }
        });
        starter.setDaemon(true);
        starter.start();
        sleep(warm);
        OperatingSystemMXBean system =
                (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long count = ENDED.get();
        long used = system.getProcessCpuTime();
        long at = System.nanoTime();
        sleep(seconds);
        count = ENDED.get() - count;
        double passed = (System.nanoTime() - at) / 1e9;
        double processor = (system.getProcessCpuTime() - used) / 1e6 / Math.max(1, count);
        System.out.println(count / passed + " " + processor);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void sleep(double seconds) throws InterruptedException {
        TimeUnit.MILLISECONDS.sleep((long) (seconds * 1000));
    }
}
