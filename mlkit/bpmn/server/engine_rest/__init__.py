"""The external-task part of the REST API of Camunda 7 and Operaton, under `/engine-rest`."""
