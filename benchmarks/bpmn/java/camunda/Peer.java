package mlkit;

import org.camunda.bpm.engine.ProcessEngine;
import org.camunda.bpm.engine.delegate.DelegateExecution;
import org.camunda.bpm.engine.delegate.JavaDelegate;
import org.camunda.bpm.engine.impl.cfg.StandaloneProcessEngineConfiguration;
import org.camunda.bpm.engine.impl.jobexecutor.DefaultJobExecutor;
import org.camunda.bpm.engine.impl.persistence.StrongUuidGenerator;

/** Camunda 7: the URL of the database, seconds of the warm-up, seconds. */
public final class Peer {
    private Peer() {}

    public static final class Nothing implements JavaDelegate {
        @Override
        public void execute(DelegateExecution execution) {}
    }

    public static final class End implements JavaDelegate {
        @Override
        public void execute(DelegateExecution execution) {
            Load.end();
        }
    }

    public static void main(String[] given) throws Exception {
        StandaloneProcessEngineConfiguration chosen = new StandaloneProcessEngineConfiguration();
        DefaultJobExecutor executor = new DefaultJobExecutor();
        executor.setCorePoolSize(Runtime.getRuntime().availableProcessors());
        executor.setMaxPoolSize(Runtime.getRuntime().availableProcessors());
        executor.setMaxJobsPerAcquisition(16);
        chosen.setJobExecutor(executor);
        chosen.setJobExecutorActivate(true);
        chosen.setDataSource(Load.connect(given[0]));
        chosen.setDatabaseSchemaUpdate("true");
        chosen.setEnforceHistoryTimeToLive(false);
        chosen.setMetricsEnabled(false);
        chosen.setIdGenerator(new StrongUuidGenerator());
        ProcessEngine engine = chosen.buildProcessEngine();
        String diagram = Load.diagram("http://camunda.org/schema/1.0/bpmn", "asyncBefore");
        engine.getRepositoryService().createDeployment().addString("ten.bpmn", diagram).deploy();
        Load.run(
                () -> engine.getRuntimeService().startProcessInstanceByKey("ten"),
                Double.parseDouble(given[1]),
                Double.parseDouble(given[2]));
    }
}
