//! Adapters: their list, the choice of one, and their cooperative matrices.

use crate::{Error, Result};

/// Properties of an adapter.
#[derive(Debug, Clone)]
pub struct AdapterSummary {
    /// Name, kind, backend, driver.
    pub info: wgpu::AdapterInfo,
    /// Optional features.
    pub features: wgpu::Features,
    /// Largest limits of a device on this adapter.
    pub limits: wgpu::Limits,
    /// The cooperative matrices that kernels would use.
    pub matrices: Option<Matrices>,
}

/// The adapters that can compute, best first. Their places here are the indices that [`Options::adapter`](super::Options) takes.
pub fn list_adapters() -> Vec<AdapterSummary> {
    let summary = |adapter: &wgpu::Adapter| AdapterSummary {
        info: adapter.get_info(),
        features: adapter.features(),
        limits: adapter.limits(),
        matrices: Matrices::of(adapter),
    };
    adapters().1.iter().map(summary).collect()
}

/// Every adapter that can compute, best first, and their instance.
pub(super) fn adapters() -> (wgpu::Instance, Vec<wgpu::Adapter>) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters.retain(|adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
    });
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    (instance, adapters)
}

/// The place of the wanted adapter in a list of names, best first: the first where none is wanted.
///
/// A number is a place in the list. A name in full, in any case, comes before a part of one.
///
/// # Errors
/// [`Error::NoAdapter`], or [`Error::ManyAdapters`] where a name fits several; both list what there is.
pub(super) fn choose(names: &[String], wanted: Option<&str>) -> Result<usize> {
    let found = || names.iter().enumerate().map(|(index, name)| format!("{index}: {name}")).collect();
    let none = || Error::NoAdapter { wanted: wanted.map(str::to_owned), found: found() };
    let Some(text) = wanted else { return if names.is_empty() { Err(none()) } else { Ok(0) } };
    if let Ok(index) = text.parse::<usize>() {
        return if index < names.len() { Ok(index) } else { Err(none()) };
    }
    let text = text.to_lowercase();
    let fits = |fit: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..names.len()).filter(|&index| fit(&names[index].to_lowercase())).collect()
    };
    let whole = fits(&|name| name == text);
    let fitting = if whole.is_empty() { fits(&|name| name.contains(&text)) } else { whole };
    match fitting[..] {
        [] => Err(none()),
        [index] => Ok(index),
        _ => Err(Error::ManyAdapters { wanted: wanted.unwrap_or_default().to_owned(), found: found() }),
    }
}

/// Cooperative matrices of a device that kernels can use: f16 times f16 into f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrices {
    /// 16 or 8: matrices are square.
    pub side: u32,
    /// Largest subgroup size; a subgroup works on a matrix together.
    pub lanes: u32,
    /// Whether a matrix is loaded from workgroup memory that is declared as vectors. Metal's functions take pointers to scalars.
    pub vectors: bool,
}

impl Matrices {
    /// Features of a device whose kernels use cooperative matrices.
    pub(super) const FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
        .union(wgpu::Features::SUBGROUP)
        .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

    /// The largest matrices of an adapter that WGSL can express: squares of 16 or 8, f16 into f32 without saturation.
    pub(super) fn of(adapter: &wgpu::Adapter) -> Option<Self> {
        let info = adapter.get_info();
        let lanes = info.subgroup_max_size;
        // A workgroup has up to four subgroups, and by WebGPU's default limits up to 256 invocations. lavapipe 26.2.6 crashes on
        // any store of a matrix by sixteen, and opens no device with matrices for four.
        let most = if info.device_type == wgpu::DeviceType::Cpu { 8 } else { 64 };
        if !adapter.features().contains(Self::FEATURES) || !(8..=most).contains(&lanes) {
            return None;
        }
        largest_side(&adapter.cooperative_matrix_properties()).map(|side| Self {
            side,
            lanes,
            vectors: info.backend != wgpu::Backend::Metal,
        })
    }
}

/// Side of the largest square matrices of f16 into f32 without saturation.
fn largest_side(configs: &[wgpu::CooperativeMatrixProperties]) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let usable = |config: &&wgpu::CooperativeMatrixProperties| {
        let sides = [config.m_size, config.n_size, config.k_size];
        [[8; 3], [16; 3]].contains(&sides)
            && (config.ab_type, config.cr_type) == (F16, F32)
            && !config.saturating_accumulation
    };
    configs.iter().filter(usable).map(|config| config.m_size).max()
}

/// The token that wgpu requires for experimental features.
#[expect(unsafe_code, reason = "wgpu asks for it, since experimental features may be unsound")]
pub(super) fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: Of experimental features only cooperative matrices are asked for, and in the adapter's own configurations; they
    // are loaded from and stored to workgroup memory alone, within arrays that hold whole matrices.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

#[cfg(test)]
mod tests {
    use wgpu::CooperativeScalarType::{self, F16, F32, I32};

    use super::{choose, largest_side};
    use crate::Error;

    fn config(
        [m_size, n_size, k_size]: [u32; 3],
        ab_type: CooperativeScalarType,
        cr_type: CooperativeScalarType,
        saturating_accumulation: bool,
    ) -> wgpu::CooperativeMatrixProperties {
        wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation,
        }
    }

    /// Two equal GPUs, a name that is the beginning of another, and one with digits in it.
    #[test]
    fn an_adapter_is_chosen_by_index_or_by_a_name_that_fits_one() {
        let names = ["Radeon RX 580", "Radeon RX 580", "Arc", "Arc Pro", "llvmpipe (LLVM 15.0.6, 256 bits)"];
        let names = names.map(str::to_owned);
        let index = |wanted: Option<&str>| choose(&names, wanted).unwrap();
        assert_eq!(index(None), 0);
        assert_eq!((0..5).map(|at: usize| index(Some(&at.to_string()))).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!([index(Some("arc")), index(Some("ARC PRO")), index(Some("LLVM 15"))], [2, 3, 4]);

        let error = choose(&names, Some("radeon")).unwrap_err();
        assert!(matches!(&error, Error::ManyAdapters { wanted, .. } if wanted == "radeon"), "{error:?}");
        let listed =
            "0: Radeon RX 580, 1: Radeon RX 580, 2: Arc, 3: Arc Pro, 4: llvmpipe (LLVM 15.0.6, 256 bits)";
        assert!(error.to_string().ends_with(listed), "{error}");
        for wanted in ["5", "580", "Voodoo", "-1"] {
            let error = choose(&names, Some(wanted)).unwrap_err();
            assert!(matches!(&error, Error::NoAdapter { .. }), "{error:?}");
            assert!(error.to_string().contains(wanted) && error.to_string().ends_with(listed), "{error}");
        }
        assert!(matches!(choose(&[], None), Err(Error::NoAdapter { wanted: None, .. })));
        assert!(matches!(choose(&[], Some("0")), Err(Error::NoAdapter { .. })));
    }

    #[test]
    fn only_matrices_that_shaders_can_say_are_used() {
        let unusable = [
            config([16, 8, 8], F16, F32, false),
            config([8, 16, 16], F16, F32, false),
            config([16, 16, 8], F16, F32, false),
            config([16; 3], F16, F16, false),
            config([16; 3], F32, F32, false),
            config([16; 3], I32, I32, false),
            config([16; 3], F16, F32, true),
            config([32; 3], F16, F32, false),
        ];
        assert_eq!(largest_side(&unusable), None);
        assert_eq!(largest_side(&[]), None);
        let both = [config([8; 3], F16, F32, false), unusable[3], config([16; 3], F16, F32, false)];
        assert_eq!(largest_side(&both), Some(16));
        assert_eq!(largest_side(&both[..2]), Some(8));
    }
}
