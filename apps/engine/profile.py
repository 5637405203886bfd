from contextlib import nullcontext


class StageTimer:
    def __call__(self, name):
        return nullcontext()
