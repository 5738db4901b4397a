//! Bindings, parameters and workgroup size of a composed shader, read off its WGSL.
//!
//! The names and numbers of bindings are conventions; see [`gpu`](super#kernels-from-outside).

use naga::valid::Capabilities;
use naga::{AddressSpace, Scalar, ScalarKind, ShaderStage, StorageAccess, TypeInner};

use super::compose::Composed;
use super::dtype::DType;
use crate::Result;

/// Access of a shader to a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Uniform,
}

/// A buffer to be bound.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) slot: u32,
    pub(super) access: Access,
    pub(super) dtype: DType,
    /// The size of one element, or of the whole uniform.
    pub(super) least_bytes: u64,
}

/// A scalar member of the uniform `params`.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) offset: usize,
    pub(super) scalar: ScalarKind,
}

/// The interface of a shader to the host.
#[derive(Debug, Clone)]
pub(super) struct Reflection {
    pub(super) bindings: Vec<Binding>,
    /// The slot, size and members of the `params` uniform, if there is one.
    pub(super) params: Option<(u32, usize, Vec<Member>)>,
    pub(super) workgroup: [u32; 3],
}

/// The name of the uniform that the recorder fills.
const PARAMS: &str = "params";

/// The name of the entry point.
pub(super) const MAIN: &str = "main";

/// Parses and validates a composed shader, and reads its bindings.
///
/// # Errors
/// [`Error::Shader`](crate::Error::Shader) where WGSL or a convention is broken.
pub(super) fn reflect(composed: &Composed) -> Result<Reflection> {
    let module = naga::front::wgsl::parse_str(&composed.wgsl)
        .map_err(|error| composed.explain(error.location(&composed.wgsl), error.message()))?;
    // The device itself refuses features that it lacks.
    let capabilities = Capabilities::default()
        | Capabilities::SUBGROUP
        | Capabilities::SHADER_FLOAT16
        | Capabilities::COOPERATIVE_MATRIX;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| composed.explain(error.location(&composed.wgsl), &chain(error.as_inner())))?;

    let entries: Vec<_> =
        module.entry_points.iter().map(|entry| (entry.name.as_str(), entry.stage)).collect();
    if entries != [(MAIN, ShaderStage::Compute)] {
        let message =
            format!("should have one entry point, a compute shader called {MAIN:?}, but has {entries:?}");
        return Err(composed.explain(None, &message));
    }
    let mut bindings = Vec::new();
    let mut params = None;
    for (_, variable) in module.global_variables.iter() {
        let Some(resource) = variable.binding else { continue };
        let name = variable.name.clone().unwrap_or_default();
        let inner = &module.types[variable.ty].inner;
        let refused = |why: &str| composed.explain(None, &format!("binding {name:?} {why}"));
        if resource.group != 0 {
            return Err(refused("should be in group 0"));
        }
        let access = match variable.space {
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::Write,
            AddressSpace::Storage { .. } => Access::Read,
            AddressSpace::Uniform => Access::Uniform,
            _ => return Err(refused("should be a storage buffer or a uniform")),
        };
        if name == PARAMS {
            let members = members(&module, inner)
                .filter(|_| access == Access::Uniform)
                .ok_or_else(|| refused("should be a uniform, a struct of u32 and f32 members"))?;
            params = Some((resource.binding, inner.size(module.to_ctx()) as usize, members));
            continue;
        }
        let (scalar, least_bytes) = match *inner {
            // Bindings are multiples of four bytes.
            TypeInner::Array { base, stride, .. } => (scalar_of(&module, base), u64::from(stride.max(4))),
            _ => (Scalar::U32, u64::from(inner.size(module.to_ctx()))),
        };
        let dtype = match scalar {
            Scalar::F16 => DType::F16,
            Scalar { kind: ScalarKind::Float, .. } => DType::F32,
            _ => DType::U32,
        };
        bindings.push(Binding { name, slot: resource.binding, access, dtype, least_bytes });
    }
    bindings.sort_by_key(|binding| binding.slot);
    Ok(Reflection { bindings, params, workgroup: module.entry_points[0].workgroup_size })
}

/// The members of a struct of 32-bit scalars, unsigned or float; `None` for any other type.
fn members(module: &naga::Module, inner: &TypeInner) -> Option<Vec<Member>> {
    let TypeInner::Struct { members, .. } = inner else { return None };
    let read = |member: &naga::StructMember| match module.types[member.ty].inner {
        TypeInner::Scalar(Scalar { kind: kind @ (ScalarKind::Uint | ScalarKind::Float), width: 4 }) => {
            let name = member.name.clone().unwrap_or_default();
            Some(Member { name, offset: member.offset as usize, scalar: kind })
        }
        _ => None,
    };
    members.iter().map(read).collect()
}

fn scalar_of(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Scalar {
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } | TypeInner::Atomic(scalar) => scalar,
        _ => Scalar::U32,
    }
}

/// Message of an error and of its causes: naga names the fault in the innermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
