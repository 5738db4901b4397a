//! Steps of a run of the kit: programs with their arguments, each with a share of the time.

/// Program that a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `fretwork`.
    Fretwork,
    /// The baseline in PyTorch.
    Torch,
}

/// One step of a run. Its standard output goes to `NAME.out` of the results, its messages to `NAME.err`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Share of the time, in seconds. A step may also use the time that the steps before it left over.
    pub(crate) seconds: u64,
    pub(crate) program: Program,
    arguments: &'static str,
}

impl Step {
    const fn fretwork(name: &'static str, seconds: u64, arguments: &'static str) -> Self {
        Self { name, seconds, program: Program::Fretwork, arguments }
    }

    const fn torch(name: &'static str, seconds: u64, arguments: &'static str) -> Self {
        Self { name, seconds, program: Program::Torch, arguments }
    }

    /// Arguments of the program, without those that only name files of the results.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static str> {
        self.arguments.split_whitespace()
    }

    /// Whether the step is a bench of `fretwork`, which writes its results into files.
    pub(crate) fn is_bench(&self) -> bool {
        self.program == Program::Fretwork && self.arguments.starts_with("bench")
    }

    /// Command of the step for someone with a checkout.
    pub(crate) fn command(&self) -> String {
        match self.program {
            Program::Fretwork => format!("fretwork {}", self.arguments),
            Program::Torch => format!("torch_peer.py {}", self.arguments),
        }
    }
}

/// All steps, in order. Programs that are compared stand next to each other. `doctor` is the last: how long it compiles every kernel
/// is known least, and the benches check the kernels that they time.
pub(crate) static STEPS: [Step; 12] = [
    Step::fretwork("adapters", 10, "doctor --adapters --json"),
    Step::fretwork("digits", 25, "train --data digits --sparsity 0.9 --json"),
    Step::fretwork("bench-f32", 80, "bench all"),
    Step::fretwork("bench-f16", 60, "bench all --dtype f16"),
    Step::fretwork("sparse-f32", 35, "bench sparse --rows 4096"),
    Step::torch("torch-f32", 50, "--device cuda --rounds 5 --rows 4096 --density 0.1"),
    Step::fretwork("sparse-f16", 30, "bench sparse --rows 4096 --dtype f16"),
    Step::fretwork("step-f16", 25, "bench step --hidden 4096,4096,4096 --batch 4096 --dtype f16"),
    Step::torch(
        "torch-f16",
        60,
        "--device cuda --rounds 5 --rows 4096 --density 0.1 --density 0.25 --dtype f16 --hidden 4096,4096,4096 --batch 4096",
    ),
    Step::fretwork(
        "fashion-f32",
        25,
        "train --data fashion-mnist --hidden 1024,1024 --sparsity 0.9 --epochs 5 --json",
    ),
    Step::fretwork(
        "fashion-f16",
        25,
        "train --data fashion-mnist --hidden 1024,1024 --sparsity 0.9 --epochs 5 --dtype f16 --json",
    ),
    Step::fretwork("doctor", 40, "doctor --json"),
];

/// The step of a name.
pub(crate) fn step(name: &str) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight minutes, with room for the start of programs and the end of one that ignores its first signal.
    #[test]
    fn all_steps_take_less_than_eight_minutes() {
        let seconds: u64 = STEPS.iter().map(|step| step.seconds).sum();
        assert!(seconds <= 465, "{seconds}");
    }
}
