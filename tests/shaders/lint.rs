//! Lints of composed shaders: WebGPU's default limits, no f16 arithmetic, no float atomics, no barrier in non-uniform
//! control flow.

use std::collections::BTreeSet;

use fretwork::gpu::STEERING;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, CooperativeRole, Expression, Function, MathFunction, Module, Scalar, ScalarKind,
    StorageAccess, TypeInner,
};

use crate::uniformity;

/// Parses and validates with WebGPU's core features only; `wave` variants may use subgroups.
pub(crate) fn validate(wgsl: &str, subgroups: bool) -> Result<(Module, ModuleInfo), String> {
    let mut capabilities = if subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    // Modules with cooperative matrices need the `subgroup_size` builtin.
    if wgsl.contains("enable wgpu_cooperative_matrix;") {
        capabilities |= Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX;
    }
    // Modules that enable f16 may store it.
    if wgsl.starts_with("enable f16;") {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| error.emit_to_string(wgsl))?;
    Ok((module, info))
}

/// Binding numbers of the inputs that the recorder may share with results.
pub(crate) fn inputs(module: &Module) -> BTreeSet<u32> {
    let all = module.global_variables.iter().map(|(_, variable)| variable);
    let inputs = all.filter(|variable| {
        let reads = AddressSpace::Storage { access: StorageAccess::LOAD };
        variable.space == reads && !STEERING.contains(&variable.name.as_deref().unwrap_or_default())
    });
    inputs.filter_map(|variable| Some(variable.binding?.binding)).collect()
}

/// Applies every lint.
pub(crate) fn lint(module: &Module, info: &ModuleInfo) -> Result<(), String> {
    limits(module)?;
    types(module)?;
    no_mixture(module)?;
    for (handle, function) in module.functions.iter() {
        arithmetic(module, function, &info[handle])?;
    }
    for (at, entry) in module.entry_points.iter().enumerate() {
        arithmetic(module, &entry.function, info.get_entry_point(at))?;
    }
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
    // Cooperative matrices have a small tiling for devices with the default limits.
    let has_matrices =
        module.types.iter().any(|(_, ty)| matches!(ty.inner, TypeInner::CooperativeMatrix { .. }));
    let most = if has_matrices { 32 << 10 } else { 16 << 10 };
    for (what, value, limit) in [
        ("storage buffers", storage, 8),
        ("uniform buffers", uniform, 12),
        ("bytes of workgroup memory", workgroup, most),
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
            // f16 is allowed as a storage type; `arithmetic` refuses computation with it.
            TypeInner::Scalar(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::Matrix { scalar, .. }
                if scalar.kind == ScalarKind::Float && ![Scalar::F32, Scalar::F16].contains(&scalar) =>
            {
                return Err(format!("a float of {} bytes: accumulation must be in f32", scalar.width));
            }
            TypeInner::CooperativeMatrix { scalar, role: CooperativeRole::C, .. }
                if scalar != Scalar::F32 =>
            {
                return Err(format!(
                    "an accumulator matrix of {} bytes: accumulation must be in f32",
                    scalar.width
                ));
            }
            // naga's SPIR-V writer fails on arrays of cooperative matrices.
            TypeInner::Array { base, .. }
                if matches!(module.types[base].inner, TypeInner::CooperativeMatrix { .. }) =>
            {
                return Err("an array of cooperative matrices".to_owned());
            }
            TypeInner::Atomic(scalar) if scalar.kind == ScalarKind::Float => {
                return Err("a float atomic: its order is up to the scheduler".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses modules with both cooperative matrices and subgroup arithmetic: a known driver crashes on them.
fn no_mixture(module: &Module) -> Result<(), String> {
    let all = || {
        module
            .functions
            .iter()
            .map(|(_, function)| function)
            .chain(module.entry_points.iter().map(|e| &e.function))
    };
    let has = |wanted: fn(&Expression) -> bool| {
        all().any(|function| function.expressions.iter().any(|(_, e)| wanted(e)))
    };
    let matrices =
        has(|e| matches!(e, Expression::CooperativeMultiplyAdd { .. } | Expression::CooperativeLoad { .. }));
    let subgroups =
        has(|e| matches!(e, Expression::SubgroupOperationResult { .. } | Expression::SubgroupBallotResult));
    if matrices && subgroups {
        return Err("cooperative matrices and arithmetic of subgroups in one module".to_owned());
    }
    Ok(())
}

/// Refuses arithmetic and function calls on f16 values: they must be converted to f32 first.
fn arithmetic(module: &Module, function: &Function, info: &FunctionInfo) -> Result<(), String> {
    for (handle, expression) in function.expressions.iter() {
        let computes = match expression {
            Expression::Binary { .. } | Expression::Unary { .. } => true,
            // A transpose only moves elements.
            Expression::Math { fun, .. } => *fun != MathFunction::Transpose,
            _ => false,
        };
        let scalar = info[handle].ty.inner_with(&module.types).scalar();
        if computes && scalar == Some(Scalar::F16) {
            return Err(format!(
                "arithmetic in f16, a float of 2 bytes, in {:?}: accumulation must be in f32",
                function.name
            ));
        }
    }
    Ok(())
}

/// Each lint refuses a shader that violates it.
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
        let stored = "enable f16; var<workgroup> a: array<f16, 4>; var<workgroup> b: array<f32, 4>;
            @compute @workgroup_size(1) fn main() ";
        assert_refused("accumulation must be in f32", &format!("{stored} {{ a[0] = a[1] + a[2]; }}"));
        assert_refused("accumulation must be in f32", &format!("{stored} {{ a[0] = sqrt(a[1]); }}"));
        assert_eq!(verdict(&format!("{stored} {{ a[0] = f16(f32(a[1]) + b[0]); }}")), Ok(()));
    }

    #[test]
    fn matrices() {
        let with = |items: &str, body: &str| {
            format!(
                "enable f16;\nenable wgpu_cooperative_matrix;
                 var<workgroup> a: array<f16, 64>; var<workgroup> b: array<f32, 64>; {items}
                 @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {{ {body} }}"
            )
        };
        let half_sums = with("", "var c = coop_mat8x8<f16, C>(); coopStoreT(c, &a[0], 8u);");
        assert_refused("an accumulator matrix of 2 bytes", &half_sums);
        let array = with("", "var c: array<coop_mat8x8<f32, C>, 2>; coopStoreT(c[0], &b[0], 8u);");
        assert_refused("an array of cooperative matrices", &array);
        let load = "let m = coopLoadT<coop_mat8x8<f16, A>>(&a[0], 8u);";
        assert_refused("arithmetic of subgroups", &with("", &format!("{load} b[l] = subgroupAdd(b[l]);")));
        let store = "var c = coop_mat8x8<f32, C>(); coopStoreT(c, &b[0], 8u);";
        assert_eq!(verdict(&with("", &format!("{load} {store}"))), Ok(()));
        assert_refused("a matrix that some invocations", &with("", &format!("if l > 3u {{ {store} }}")));
        // naga's own validation rejects this load.
        assert!(verdict(&with("", &format!("if l > 3u {{ {load} }}"))).is_err());
        assert_refused(
            "a matrix that some invocations",
            &with(&format!("fn f() {{ {load} }}"), "if l > 3u { f(); }"),
        );
    }

    #[test]
    fn wrong_types() {
        assert!(verdict("@compute @workgroup_size(1) fn main() { let a: u32 = 1.5; }").is_err());
    }
}
