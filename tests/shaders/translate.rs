//! Translation of modules to SPIR-V, MSL and HLSL.

use std::io::Write as _;
use std::process::{Command, Stdio};

use naga::valid::ModuleInfo;
use naga::{Module, TypeInner, back};

/// The `spirv-val` program, if installed.
pub(crate) struct SpirvVal {
    there: bool,
    /// Whether this version supports cooperative matrices.
    knows_matrices: bool,
}

impl SpirvVal {
    /// Finds `spirv-val`. It is required on CI; elsewhere its absence is printed.
    pub(crate) fn find() -> Self {
        let found = Command::new("spirv-val").arg("--version").stdout(Stdio::null()).status().is_ok();
        if !found {
            assert!(std::env::var_os("CI").is_none(), "spirv-val is missing (apt-get install spirv-tools)");
            println!("SKIPPED: SPIR-V is not held against spirv-val, which is not installed (spirv-tools)");
        }
        let validator = Self { there: found, knows_matrices: true };
        let knows_matrices = validator.check(&matrix_module()).is_ok();
        if !knows_matrices {
            println!(
                "SKIPPED: SPIR-V with cooperative matrices is not held against spirv-val, which is too old for it"
            );
        }
        Self { knows_matrices, ..validator }
    }

    fn check(&self, words: &[u32]) -> Result<(), String> {
        if !self.there {
            return Ok(());
        }
        let run = || -> std::io::Result<std::process::Output> {
            let mut child = Command::new("spirv-val")
                .args(["--target-env", "vulkan1.1", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(bytemuck::cast_slice(words))?;
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// Whether a module has cooperative matrices, which naga translates to SPIR-V and MSL only.
pub(crate) fn uses_matrices(module: &Module) -> bool {
    module.types.iter().any(|(_, ty)| matches!(ty.inner, TypeInner::CooperativeMatrix { .. }))
}

/// Minimal SPIR-V module with a cooperative matrix.
fn matrix_module() -> Vec<u32> {
    let wgsl = "enable f16;\nenable wgpu_cooperative_matrix;
        var<workgroup> a: array<f32, 64>;
        @compute @workgroup_size(32) fn main() { coopStoreT(coop_mat8x8<f32, C>(), &a[0], 8u); }";
    let (module, info) = crate::lint::validate(wgsl, false).expect("it is valid");
    let options = back::spv::Options { lang_version: (1, 3), ..Default::default() };
    back::spv::write_vec(&module, &info, &options, None).expect("it translates")
}

/// Translates a module to all three languages; each must succeed.
pub(crate) fn translate(module: &Module, info: &ModuleInfo, spirv_val: &SpirvVal) -> Result<(), String> {
    // SPIR-V 1.3, that of Vulkan 1.1, is the first version with subgroup operations.
    let options = back::spv::Options { lang_version: (1, 3), ..Default::default() };
    let spirv =
        back::spv::write_vec(module, info, &options, None).map_err(|error| format!("to SPIR-V: {error}"))?;
    if spirv_val.knows_matrices || !uses_matrices(module) {
        spirv_val.check(&spirv).map_err(|error| format!("spirv-val: {error}"))?;
    }

    let options =
        back::msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
    back::msl::write_string(module, info, &options, &back::msl::PipelineOptions::default())
        .map_err(|error| format!("to MSL: {error}"))?;

    if uses_matrices(module) {
        // naga's HLSL writer lacks cooperative matrices; devices on DX12 use other variants.
        return Ok(());
    }
    let options = back::hlsl::Options { fake_missing_bindings: true, ..Default::default() };
    let mut hlsl = String::new();
    back::hlsl::Writer::new(&mut hlsl, &options, &back::hlsl::PipelineOptions::default())
        .write(module, info, None)
        .map_err(|error| format!("to HLSL: {error}"))?;
    Ok(())
}

mod tests {
    use super::*;

    /// spirv-val runs: it rejects a truncated module.
    #[test]
    fn spirv_val_objects() {
        let (module, info) =
            crate::lint::validate("@compute @workgroup_size(1) fn main() {}", false).expect("it is valid");
        let words = back::spv::write_vec(&module, &info, &back::spv::Options::default(), None)
            .expect("it translates");
        let validator = SpirvVal::find();
        assert_eq!(validator.check(&words), Ok(()));
        if validator.there {
            assert!(validator.check(&words[..words.len() - 3]).is_err());
        }
    }
}
