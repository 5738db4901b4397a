//! Number of memory barriers of a plan.

use super::plan::Plan;
use super::reflect::Access;

impl Plan {
    /// Number of dispatches that must wait for earlier ones of the plan, or of its last replay, since they write what those used, or
    /// read what those wrote. wgpu orders a dispatch behind all earlier ones there, by whole buffers.
    pub fn barriers(&self) -> usize {
        // What each buffer was last used for. The second replay begins with what the first one left.
        let mut uses: Vec<(wgpu::Buffer, Access)> = Vec::new();
        let mut replay = || self.dispatches().iter().filter(|dispatch| dispatch.waits(&mut uses)).count();
        replay();
        replay()
    }
}
