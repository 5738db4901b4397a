//! The house's rules: WebGPU's default limits, no half-precision sums, no float atomics, no barrier where some invocations
//! may be missing.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, Scalar, ScalarKind, TypeInner};

use crate::uniformity;

/// Parses and validates with nothing but what WebGPU has without optional features; `wave` variants may have subgroups.
pub(crate) fn validate(wgsl: &str, subgroups: bool) -> Result<(Module, ModuleInfo), String> {
    let capabilities = if subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| error.emit_to_string(wgsl))?;
    Ok((module, info))
}

/// All rules.
pub(crate) fn lint(module: &Module, _info: &ModuleInfo) -> Result<(), String> {
    limits(module)?;
    types(module)?;
    uniformity::lint(module)
}

fn limits(module: &Module) -> Result<(), String> {
    let (mut storage, mut uniform, mut workgroup) = (0, 0, 0);
    for (_, variable) in module.global_variables.iter() {
        match variable.space {
            AddressSpace::Storage { .. } => storage += 1,
            AddressSpace::Uniform => uniform += 1,
            AddressSpace::WorkGroup => workgroup += module.types[variable.ty].inner.size(module.to_ctx()),
            _ => {}
        }
        if variable.binding.is_some_and(|binding| binding.group != 0) {
            return Err(format!("{:?} is not in group 0", variable.name));
        }
    }
    let [entry] = module.entry_points.as_slice() else {
        return Err(format!("{} entry points", module.entry_points.len()));
    };
    let [x, y, z] = entry.workgroup_size;
    for (what, value, limit) in [
        ("storage buffers", storage, 8),
        ("uniform buffers", uniform, 12),
        ("bytes of workgroup memory", workgroup, 16 << 10),
        ("invocations a workgroup", x * y * z, 256),
        ("invocations across", x, 256),
        ("invocations down", y, 256),
        ("invocations deep", z, 64),
    ] {
        if value > limit {
            return Err(format!("{value} {what}, more than {limit}"));
        }
    }
    Ok(())
}

fn types(module: &Module) -> Result<(), String> {
    for (_, ty) in module.types.iter() {
        match ty.inner {
            TypeInner::Scalar(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::Matrix { scalar, .. }
                if scalar.kind == ScalarKind::Float && scalar != Scalar::F32 =>
            {
                return Err(format!("a float of {} bytes: sums are in f32", scalar.width));
            }
            TypeInner::Atomic(scalar) if scalar.kind == ScalarKind::Float => {
                return Err("a float atomic: its order is up to the scheduler".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What each rule says to a shader that breaks it.
mod tests {
    use super::*;

    fn verdict(wgsl: &str) -> Result<(), String> {
        let (module, info) = validate(wgsl, false)?;
        lint(&module, &info)
    }

    fn assert_refused(why: &str, wgsl: &str) {
        let error = verdict(wgsl).expect_err(why);
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn too_many_buffers() {
        let buffers: String = (0..9)
            .map(|i| format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<u32>;\n"))
            .collect();
        assert_refused("storage buffers", &format!("{buffers}@compute @workgroup_size(1) fn main() {{}}"));
    }

    #[test]
    fn too_much_workgroup_memory() {
        assert_refused(
            "workgroup memory",
            "var<workgroup> a: array<u32, 4352>; @compute @workgroup_size(1) fn main() { a[0] = 1u; }",
        );
    }

    #[test]
    fn too_many_invocations() {
        assert_refused("invocations a workgroup", "@compute @workgroup_size(32, 16) fn main() {}");
    }

    #[test]
    fn half_precision() {
        let error =
            verdict("enable f16; @compute @workgroup_size(1) fn main() { var a = 1h; a += a; }").unwrap_err();
        assert!(error.to_lowercase().contains("f16") || error.contains("2 bytes"), "{error}");
    }

    #[test]
    fn wrong_types() {
        assert!(verdict("@compute @workgroup_size(1) fn main() { let a: u32 = 1.5; }").is_err());
    }
}
