"""The one judgement of what a run left behind: by the reference model, in sentences. Pure."""
