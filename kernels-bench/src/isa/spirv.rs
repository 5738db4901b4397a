//! WGSL to SPIR-V, as wgpu translates a kernel of this library: unchecked accesses, no loop bounds, workgroup memory not zeroed.

use anyhow::{Result, anyhow};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// A buffer of a module's only bind group.
pub(crate) struct Binding {
    pub(crate) number: u32,
    pub(crate) uniform: bool,
}

/// Words of the module, and its bindings.
pub(crate) fn translate(wgsl: &str) -> Result<(Vec<u32>, Vec<Binding>)> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| anyhow!(error.emit_to_string(wgsl)))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).map_err(|error| anyhow!(error.emit_to_string(wgsl)))?;
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 4),
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let bindings = module.global_variables.iter().filter_map(|(_, variable)| {
        let number = variable.binding.as_ref()?.binding;
        Some(Binding { number, uniform: variable.space == naga::AddressSpace::Uniform })
    });
    Ok((spv::write_vec(&module, &info, &options, None)?, bindings.collect()))
}
