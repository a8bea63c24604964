"""OpenVINO and ONNX Runtime, each in a process of its own. No torch here.

    with RuntimeProcess("openvino") as runtime:
        runtime.load(0, path, (16, 3, 224, 224), threads=2)
        rows = runtime.run(0, images)

This process never loads these libraries, whose threads would live on in it: a process that forks beside threads that it does not know
can crash or hang (docs/decisions/0009). `python -m zoo.runtimes` is what the other one runs.
"""
