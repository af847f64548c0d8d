package mlkit;

import org.flowable.engine.ProcessEngine;
import org.flowable.engine.delegate.DelegateExecution;
import org.flowable.engine.delegate.JavaDelegate;
import org.flowable.engine.impl.cfg.StandaloneProcessEngineConfiguration;

/** Flowable: the URL of the database, seconds of the warm-up, seconds. */
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
        chosen.setDataSource(Load.connect(given[0]));
        chosen.setDatabaseSchemaUpdate("true");
        chosen.setDisableIdmEngine(true);
        chosen.setDisableEventRegistry(true);
        chosen.setAsyncExecutorActivate(true);
        chosen.setAsyncExecutorCorePoolSize(Runtime.getRuntime().availableProcessors());
        chosen.setAsyncExecutorMaxPoolSize(Runtime.getRuntime().availableProcessors());
        ProcessEngine engine = chosen.buildProcessEngine();
        String diagram = Load.diagram("http://flowable.org/bpmn", "async");
        engine.getRepositoryService().createDeployment().addString("ten.bpmn20.xml", diagram).deploy();
        Load.run(
                () -> engine.getRuntimeService().startProcessInstanceByKey("ten"),
                Double.parseDouble(given[1]),
                Double.parseDouble(given[2]));
    }
}
