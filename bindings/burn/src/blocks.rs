//! The stored blocks of a layer's weight as a part of a Burn module, so that records hold them.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use burn_core::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn_core::tensor::{Device, Int, Tensor, TensorData};
use burn_cubecl::cubecl::wgpu::WgpuDevice;
use fretwork::sparse::Topology;

use crate::layout::Layout;
use crate::watch::Watch;
use crate::{Error, Result};

/// Coordinates of the blocks of a weight: the row and the column of each in the grid of blocks, `[nnz, 2]`, in the order of the
/// values. It takes no gradient, and optimizers leave it alone.
#[derive(Debug, Clone)]
pub struct Blocks {
    coordinates: Param<Tensor<2, Int>>,
    /// Rows and columns of the weight, in elements.
    sides: [usize; 2],
    block: usize,
    known: Arc<Known>,
}

/// The same coordinates on the host and, packed, on devices.
#[derive(Debug, Default)]
pub(crate) struct Known {
    topology: OnceLock<Topology>,
    layouts: Mutex<Vec<Arc<Layout>>>,
    /// Operands of the layer's backward passes.
    pub(crate) watch: Arc<Watch>,
}

/// What is known of coordinates, by their parameter, so that a visitor of a module finds it.
static KNOWN: Mutex<Vec<(ParamId, Weak<Known>)>> = Mutex::new(Vec::new());

impl Known {
    pub(crate) fn new(topology: Topology) -> Arc<Self> {
        Arc::new(Self { topology: OnceLock::from(topology), ..Self::default() })
    }

    /// Of a topology that is on a device already.
    pub(crate) fn of(layout: Arc<Layout>) -> Arc<Self> {
        let topology = OnceLock::from(layout.topology.clone());
        let watch = Arc::clone(&layout.watch);
        Arc::new(Self { topology, layouts: Mutex::new(vec![layout]), watch })
    }

    /// The topology, which a record's reader leaves unknown until it is asked for.
    pub(crate) fn topology(&self) -> Result<&Topology> {
        self.topology.get().ok_or(Error::Unread)
    }

    /// The topology on a device, uploaded at its first use there; a topology must be known.
    pub(crate) fn layout(&self, device: &WgpuDevice) -> Result<Arc<Layout>> {
        let mut layouts = self.layouts.lock().expect("no holder of this lock panics");
        if let Some(layout) = layouts.iter().find(|layout| layout.device == *device) {
            return Ok(Arc::clone(layout));
        }
        let topology = self.topology()?.clone();
        let layout = Layout::new(device, topology, Arc::clone(&self.watch))?;
        layouts.push(Arc::clone(&layout));
        Ok(layout)
    }

    /// The coordinates as a tensor, `[nnz, 2]`.
    pub(crate) fn coordinates(&self, device: &Device) -> Tensor<2, Int> {
        let coordinates = self.topology.get().into_iter().flat_map(Topology::coordinates);
        let words: Vec<i32> = coordinates.flat_map(|(row, col)| [row as i32, col as i32]).collect();
        let nnz = words.len() / 2;
        Tensor::from_data(TensorData::new(words, [nnz, 2]), &device.clone().without_autodiff())
    }
}

impl Blocks {
    pub(crate) fn new(topology: Topology, device: &Device) -> Self {
        let (sides, block) = ([topology.rows(), topology.cols()], topology.block());
        let known = Known::new(topology);
        let coordinates = Param::initialized(ParamId::new(), known.coordinates(device));
        Self::hand_over(coordinates.id, &known);
        Self { coordinates, sides, block, known }
    }

    /// Notes what is known of the coordinates of a parameter.
    pub(crate) fn hand_over(id: ParamId, known: &Arc<Known>) {
        let mut all = KNOWN.lock().expect("no holder of this lock panics");
        all.retain(|(other, known)| *other != id && known.strong_count() > 0);
        all.push((id, Arc::downgrade(known)));
    }

    /// What is known of the coordinates of a parameter, if it is of a sparse layer.
    pub(crate) fn known(id: ParamId) -> Option<Arc<Known>> {
        let all = KNOWN.lock().expect("no holder of this lock panics");
        all.iter().find(|(other, _)| *other == id).and_then(|(_, known)| known.upgrade())
    }

    /// Rows and columns of the weight, `[outputs, inputs]`.
    pub fn sides(&self) -> [usize; 2] {
        self.sides
    }

    /// Side of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The topology. After a record was loaded it is read back from the device once, which waits for the device.
    ///
    /// # Errors
    /// [`Error::Fretwork`] if a record holds coordinates that are none of the grid, or one of them twice.
    pub fn topology(&self) -> Result<&Topology> {
        if let Some(topology) = self.known.topology.get() {
            return Ok(topology);
        }
        let words = self.coordinates.val().into_data().iter::<i64>().collect::<Vec<_>>();
        let coordinate = |word: i64| {
            u32::try_from(word).map_err(|_| Error::Shape {
                what: "a block's coordinate in the record",
                wanted: format!("within the grid of {:?} in blocks of {}", self.sides, self.block),
                found: word.to_string(),
            })
        };
        let coordinates = words
            .chunks_exact(2)
            .map(|pair| Ok((coordinate(pair[0])?, coordinate(pair[1])?)))
            .collect::<Result<Vec<_>>>()?;
        let topology = Topology::from_coordinates(self.sides[0], self.sides[1], self.block, &coordinates)?;
        Ok(self.known.topology.get_or_init(|| topology))
    }

    /// The topology on a device.
    pub(crate) fn layout(&self, device: &WgpuDevice) -> Result<Arc<Layout>> {
        self.topology()?;
        self.known.layout(device)
    }

    fn with(&self, coordinates: Param<Tensor<2, Int>>) -> Self {
        Self { coordinates, ..self.clone() }
    }
}

impl Module for Blocks {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_int(&self.coordinates);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        // A mapper that leaves a parameter alone returns the value itself, so the clone shares its place.
        let before = self.coordinates.clone();
        let coordinates = mapper.map_int(self.coordinates);
        if std::ptr::eq::<Tensor<2, Int>>(&*before, &*coordinates) {
            return Self { coordinates, ..self };
        }
        // An update of the topology hands over what it knows under a new name. Whatever else is in the parameter is read back.
        let known = match Self::known(coordinates.id).filter(|_| coordinates.id != before.id) {
            Some(known) => known,
            None => Arc::default(),
        };
        Self::hand_over(coordinates.id, &known);
        Self { coordinates, known, ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(self.coordinates.clone().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.with(self.coordinates.clone().fork(device))
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.coordinates.collect_devices(devices)
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.with(self.coordinates.valid())
    }

    fn train(self) -> Self {
        self.with(self.coordinates.clone().train())
    }
}

impl ModuleDisplayDefault for Blocks {
    fn content(&self, content: Content) -> Option<Content> {
        let nnz = self.coordinates.lazy_shape()[0];
        let [rows, cols] = self.sides;
        content.add_single(&format!("{nnz} blocks of {0} x {0} in {rows} x {cols}", self.block)).optional()
    }
}

impl ModuleDisplay for Blocks {}
