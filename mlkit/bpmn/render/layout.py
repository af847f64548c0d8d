from mlkit.bpmn.render.picture import Picture
def arrange(root): return Picture((), ())
