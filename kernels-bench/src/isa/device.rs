//! Mesa's compiler for AMD GPUs (RADV with ACO), on a device of "null hardware": pipelines are compiled, nothing runs.
//!
//! The driver reads the GPU family from `RADV_FORCE_FAMILY` when the instance is created. wgpu opens no such device, so this is plain
//! Vulkan.

#![expect(unsafe_code, reason = "Vulkan's functions are unsafe")]

use std::collections::BTreeMap;
use std::ffi::CStr;

use anyhow::{Context as _, Result, bail, ensure};
use ash::khr::pipeline_executable_properties;
use ash::vk;

use super::spirv::Binding;

/// Device of null hardware.
pub(crate) struct Device {
    _entry: ash::Entry,
    instance: ash::Instance,
    device: ash::Device,
    executables: pipeline_executable_properties::Device,
    /// Name of the GPU and version of the driver.
    pub(crate) name: String,
    /// Whether the GPU has cooperative matrices.
    pub(crate) has_matrices: bool,
}

/// A compiled pipeline.
pub(crate) struct Pipeline {
    pub(crate) subgroup: u32,
    /// The driver's statistics, by their names.
    pub(crate) statistics: BTreeMap<String, u64>,
    pub(crate) assembly: String,
}

impl Device {
    /// The only device of the driver that the environment names, with all its features.
    pub(crate) fn open() -> Result<Self> {
        // SAFETY: the structures that a call reads outlive the call, and handles come from the same instance.
        unsafe {
            let entry = ash::Entry::load().context("no Vulkan loader")?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&info, None).context("no Vulkan instance")?;
            match Self::of_instance(&instance) {
                Ok((device, executables, name, has_matrices)) => {
                    Ok(Self { _entry: entry, instance, device, executables, name, has_matrices })
                }
                Err(error) => {
                    instance.destroy_instance(None);
                    Err(error)
                }
            }
        }
    }

    unsafe fn of_instance(
        instance: &ash::Instance,
    ) -> Result<(ash::Device, pipeline_executable_properties::Device, String, bool)> {
        unsafe {
            let physical = instance.enumerate_physical_devices()?;
            let physical = *physical.first().context("the driver has no null hardware")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(physical, &mut properties);
            let device_name = text(&properties.properties.device_name);
            let name = format!("{device_name}, {}", text(&driver.driver_info));
            ensure!(
                driver.driver_id == vk::DriverId::MESA_RADV,
                "{name} is not RADV: VK_DRIVER_FILES names another driver"
            );

            let mut cooperative = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
            let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut vulkan_13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut vulkan_12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut vulkan_11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut cooperative)
                .push_next(&mut executable)
                .push_next(&mut vulkan_13)
                .push_next(&mut vulkan_12)
                .push_next(&mut vulkan_11);
            // The chain that the driver fills in is the chain that switches all of it on.
            instance.get_physical_device_features2(physical, &mut features);

            let there = instance.enumerate_device_extension_properties(physical)?;
            let wanted = [pipeline_executable_properties::NAME, ash::khr::cooperative_matrix::NAME];
            let has = |name: &&CStr| there.iter().any(|found| found.extension_name_as_c_str() == Ok(*name));
            ensure!(has(&wanted[0]), "{name} has no {}", wanted[0].to_string_lossy());
            let extensions: Vec<_> =
                wanted.iter().filter(|name| has(name)).map(|name| name.as_ptr()).collect();
            let priorities = [1.0];
            let queue =
                vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&priorities);
            let queues = [queue];
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let device =
                instance.create_device(physical, &info, None).context("no device of null hardware")?;
            let executables = pipeline_executable_properties::Device::new(instance, &device);
            Ok((device, executables, name, has(&wanted[1])))
        }
    }

    /// Compiles the entry point `main` of a module, as wgpu has it compiled: subgroups of whatever size the driver prefers.
    pub(crate) fn compile(&self, words: &[u32], bindings: &[Binding]) -> Result<Pipeline> {
        let layout: Vec<_> = bindings
            .iter()
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding.number)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
                    .descriptor_type(if binding.uniform {
                        vk::DescriptorType::UNIFORM_BUFFER
                    } else {
                        vk::DescriptorType::STORAGE_BUFFER
                    })
            })
            .collect();
        let device = &self.device;
        // SAFETY: the structures that a call reads outlive the call; objects are destroyed once, after their last use.
        unsafe {
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&layout);
            let set = device.create_descriptor_set_layout(&info, None)?;
            let sets = [set];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&info, None)?;
            let module =
                device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(words), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main")
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
            let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            )];
            let created = device.create_compute_pipelines(vk::PipelineCache::null(), &info, None);
            let compiled = match &created {
                Ok(pipelines) => self.inspect(pipelines[0]),
                Err((_, error)) => Err(anyhow::anyhow!("the compiler refuses it: {error}")),
            };
            let pipelines = match created {
                Ok(pipelines) | Err((pipelines, _)) => pipelines,
            };
            for pipeline in pipelines {
                device.destroy_pipeline(pipeline, None);
            }
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            compiled
        }
    }

    unsafe fn inspect(&self, pipeline: vk::Pipeline) -> Result<Pipeline> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // A compute pipeline is one executable.
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        unsafe {
            let properties = self.executables.get_pipeline_executable_properties(&info)?;
            let statistics = self.executables.get_pipeline_executable_statistics(&executable)?;
            let Some(properties) = properties.first() else { bail!("the pipeline has no executable") };
            Ok(Pipeline {
                subgroup: properties.subgroup_size,
                // All of RADV's statistics are unsigned.
                statistics: statistics.iter().map(|one| (text(&one.name), one.value.u64)).collect(),
                assembly: self.assembly(&executable)?,
            })
        }
    }

    unsafe fn assembly(&self, executable: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String> {
        let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let device = self.device.handle();
        unsafe {
            let mut count = 0;
            get(device, executable, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            get(device, executable, &mut count, found.as_mut_ptr()).result()?;
            let mut texts: Vec<Vec<u8>> = found.iter().map(|one| vec![0; one.data_size]).collect();
            for (one, text) in found.iter_mut().zip(&mut texts) {
                one.p_data = text.as_mut_ptr().cast();
            }
            get(device, executable, &mut count, found.as_mut_ptr()).result()?;
            let mut named = found.iter().map(|one| text(&one.name)).zip(texts);
            let (_, assembly) = named.find(|(name, _)| name == "Assembly").context("no assembly")?;
            Ok(String::from_utf8_lossy(&assembly).trim_end_matches('\0').to_owned())
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: nothing that was made of the device or the instance is left.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

fn text(name: &[std::ffi::c_char]) -> String {
    let bytes = name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte.cast_unsigned());
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}
