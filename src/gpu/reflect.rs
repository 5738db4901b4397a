//! What a composed shader asks of the host, read off the shader itself: bindings, parameters, workgroup size.

use naga::valid::Capabilities;
use naga::{AddressSpace, Scalar, ScalarKind, StorageAccess, TypeInner};

use super::DType;
use super::compose::Composed;
use crate::Result;

/// How a binding is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Uniform,
}

/// A resource the host must bind.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) slot: u32,
    pub(super) access: Access,
    pub(super) dtype: DType,
    /// The least size that holds one element, or the whole of a uniform.
    pub(super) least_bytes: u64,
}

/// A member of the shader's `Params`.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) offset: usize,
    pub(super) scalar: ScalarKind,
}

/// Everything the host needs to know of one shader.
#[derive(Debug, Clone)]
pub(super) struct Reflection {
    pub(super) bindings: Vec<Binding>,
    /// The slot, size and members of the `params` uniform, if there is one.
    pub(super) params: Option<(u32, usize, Vec<Member>)>,
    pub(super) workgroup: [u32; 3],
}

/// The name of the uniform that the recorder fills.
const PARAMS: &str = "params";

/// Parses, validates and reads a composed shader.
pub(super) fn reflect(composed: &Composed) -> Result<Reflection> {
    let module = naga::front::wgsl::parse_str(&composed.wgsl)
        .map_err(|error| composed.explain(error.location(&composed.wgsl), error.message()))?;
    // What the device lacks, it refuses itself.
    let capabilities = Capabilities::default()
        | Capabilities::SUBGROUP
        | Capabilities::SHADER_FLOAT16
        | Capabilities::COOPERATIVE_MATRIX;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|error| composed.explain(error.location(&composed.wgsl), &chain(error.as_inner())))?;

    let mut bindings = Vec::new();
    let mut params = None;
    for (_, variable) in module.global_variables.iter() {
        let Some(resource) = variable.binding else { continue };
        let name = variable.name.clone().unwrap_or_default();
        let inner = &module.types[variable.ty].inner;
        if name == PARAMS {
            params = Some((resource.binding, inner.size(module.to_ctx()) as usize, members(&module, inner)));
            continue;
        }
        let access = match variable.space {
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::Write,
            AddressSpace::Storage { .. } => Access::Read,
            _ => Access::Uniform,
        };
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
    let workgroup = module.entry_points.first().map_or([0; 3], |entry| entry.workgroup_size);
    Ok(Reflection { bindings, params, workgroup })
}

fn members(module: &naga::Module, inner: &TypeInner) -> Vec<Member> {
    let TypeInner::Struct { members, .. } = inner else { return Vec::new() };
    members
        .iter()
        .map(|member| Member {
            name: member.name.clone().unwrap_or_default(),
            offset: member.offset as usize,
            scalar: scalar_of(module, member.ty).kind,
        })
        .collect()
}

fn scalar_of(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Scalar {
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } | TypeInner::Atomic(scalar) => scalar,
        _ => Scalar::U32,
    }
}

/// An error with its causes, which is where naga says what is really wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
