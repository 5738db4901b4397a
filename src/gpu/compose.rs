//! Composition of a [`Key`]'s WGSL: imports, conditionals and constants resolved.
//!
//! The shaders use WESL, WGSL with imports and `@if`. Anything left unresolved is an error that names the
//! file and line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wesl::Resolver;

use super::dtype::DType;
use super::key::{FLAGS, Key, Tiling};
use crate::{Error, Result};

/// Module of a permutation's constants, generated for each key.
const CONSTANTS: &str = "package::constants";

/// Conditional of operands stored as f16.
const HALF: &str = "half";

/// Conditional of cooperative matrices of 16 x 16 instead of 8 x 8.
const MATRIX_16: &str = "matrix_16";

/// Conditional of workgroup memory that is declared as scalars, for drivers that load no matrix from vectors.
const SCALAR_PANELS: &str = "scalar_panels";

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../shaders/", $path, ".wgsl")))),*]
    };
}

/// Every shader file, embedded.
const EMBEDDED: &[(&str, &str)] = sources![
    "common/activation",
    "common/basis",
    "common/column_major",
    "common/coop",
    "common/dropout",
    "common/epilogue",
    "common/gate",
    "common/grid",
    "common/half",
    "common/load",
    "common/loss_scale",
    "common/matmul",
    "common/moments",
    "common/noise",
    "common/normal",
    "common/panel",
    "common/parameters",
    "common/pieces",
    "common/random",
    "common/rank",
    "common/set",
    "common/step",
    "common/topology",
    "common/wave",
    "common/weight",
    "activation/backward",
    "activation/forward",
    "attention/forward",
    "attention/forward_tile",
    "attention/keys",
    "attention/keys_tile",
    "attention/layout",
    "attention/queries",
    "attention/queries_tile",
    "attention/rows",
    "attention/tiles",
    "basis/add",
    "basis/dot",
    "basis/sum",
    "bits/combine",
    "bits/count",
    "bits/present",
    "blocks/births",
    "blocks/decay",
    "blocks/remap",
    "blocks/renew",
    "blocks/zero_inactive",
    "blocks/zero_padding",
    "ceiling/copy",
    "ceiling/fma",
    "combine/rows",
    "convert/to_f16",
    "convert/to_f32",
    "dds/blocks",
    "dds/coop",
    "dds/lane",
    "dds/tile",
    "dds/wave",
    "dense/coop",
    "dense/lane",
    "dense/sum",
    "dense/tall",
    "dense/tile",
    "dense/wave",
    "dsd/blocks",
    "dsd/coop",
    "dsd/lane",
    "dsd/tile",
    "dsd/wave",
    "dss/lane",
    "embed/gather",
    "embed/link",
    "embed/scatter",
    "experts/activate",
    "experts/backward",
    "fill/blend",
    "fill/words",
    "finite/activity",
    "finite/scan",
    "gate/assign",
    "gate/backward",
    "gate/bias",
    "gate/capacity",
    "gate/choose",
    "gate/count",
    "gate/first",
    "gate/hash",
    "gate/load",
    "gate/losses",
    "gate/noise",
    "gate/noise_backward",
    "gate/probs",
    "gate/scores",
    "gate/statistics",
    "gate/tally",
    "gate/weigh",
    "layer_norm/backward",
    "layer_norm/forward",
    "layer_norm/gain",
    "layerwise/lamb",
    "layerwise/lars",
    "layerwise/norms",
    "layerwise/ratios",
    "loss/mse",
    "loss/networks",
    "loss/probabilities",
    "loss/soft",
    "loss/softmax",
    "mask/apply",
    "naive/tile",
    "norm/backward",
    "norm/forward",
    "norm/gain",
    "optimizer/adamw",
    "optimizer/sgd",
    "pattern/count",
    "pattern/empty",
    "pattern/fill",
    "pattern/lines",
    "pattern/place",
    "pattern/scan",
    "pattern/slots",
    "pattern/swap",
    "random/fill",
    "reduce/norms",
    "reduce/sum",
    "reduce/sums",
    "route/count",
    "route/index",
    "route/place",
    "route/scan",
    "route/tiles",
    "route/values",
    "route/walk",
    "scale/apply",
    "scale/decide",
    "score/connect",
    "score/exclude",
    "score/lane",
    "score/product",
    "score/routed",
    "score/silent",
    "score/stored",
    "score/tile",
    "score/values",
    "score/wave",
    "sdd/blocks",
    "sdd/coop",
    "sdd/lane",
    "sdd/sum",
    "sdd/tile",
    "sdd/wave",
    "sds/lane",
    "select/radix",
    "ssd/lane",
];

/// The text of every shader file of this library, embedded or replaced, and of the shaders added to a device.
#[derive(Debug, Clone)]
pub struct Sources {
    library: BTreeMap<&'static str, Cow<'static, str>>,
    /// By [`Gpu::add_shader`](super::Gpu::add_shader), as `family/name`.
    added: BTreeMap<String, Cow<'static, str>>,
}

impl Default for Sources {
    fn default() -> Self {
        let library = EMBEDDED.iter().map(|&(path, text)| (path, Cow::Borrowed(text))).collect();
        Self { library, added: BTreeMap::new() }
    }
}

impl Sources {
    /// The files under a folder laid out like `shaders/`. Files missing there are the embedded ones.
    ///
    /// # Errors
    /// [`Error::Io`] if a file that is there cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut sources = Self::default();
        for (path, text) in &mut sources.library {
            let file = folder.join(format!("{path}.wgsl"));
            if file.exists() {
                *text = Cow::Owned(std::fs::read_to_string(&file).map_err(Error::io(&file))?);
            }
        }
        Ok(sources)
    }

    /// Every file of this library: its path without the ending, and its text.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.library.iter().map(|(path, text)| (*path, &**text))
    }

    /// Replaces `from` by `to` in one file, to show that a check finds a broken kernel.
    ///
    /// # Errors
    /// [`Error::Shader`] if there is no such file or it does not contain `from`.
    pub fn patch(&mut self, path: &str, from: &str, to: &str) -> Result<()> {
        let text =
            self.library.get_mut(path).filter(|text| text.contains(from)).ok_or_else(|| Error::Shader {
                label: format!("shaders/{path}.wgsl"),
                message: format!("no such file, or it does not contain {from:?}"),
            })?;
        *text = Cow::Owned(text.replace(from, to));
        Ok(())
    }

    /// Adds a shader from outside this library.
    pub(super) fn add(
        &mut self,
        family: &'static str,
        name: &'static str,
        source: Cow<'static, str>,
    ) -> Result<Key> {
        let op = "Gpu::add_shader";
        for (argument, part) in [("family", family), ("name", name)] {
            let is_letter = |c: char| c.is_ascii_alphabetic();
            let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !part.starts_with(is_letter) || !part.chars().all(is_inner) {
                let wanted = "a letter, then letters, digits and underscores";
                return Err(Error::argument(op, argument, wanted, format!("{part:?}")));
            }
        }
        let file = format!("{family}/{name}");
        if self.text(&file).is_some() {
            return Err(Error::argument(
                op,
                "name",
                "new in its family",
                format!("the name of {}", self.shown(&file)),
            ));
        }
        self.added.insert(file, source);
        Ok(Key::new(family, name))
    }

    /// Whether the kernel of `key` is from outside this library.
    pub(super) fn is_added(&self, key: &Key) -> bool {
        self.added.contains_key(&format!("{}/{}", key.family, key.name))
    }

    /// Whether the kernel of `key` is one of this library's.
    pub(super) fn is_library(&self, key: &Key) -> bool {
        self.library.contains_key(format!("{}/{}", key.family, key.name).as_str())
    }

    fn text(&self, file: &str) -> Option<&Cow<'static, str>> {
        self.library.get(file).or_else(|| self.added.get(file))
    }

    /// Name of a file in errors. The files of this library lie in `shaders/`.
    fn shown(&self, file: &str) -> String {
        let folder = if self.added.contains_key(file) { "" } else { "shaders/" };
        format!("{folder}{file}.wgsl")
    }

    /// Composes a permutation.
    ///
    /// # Errors
    /// [`Error::Shader`] with file and line.
    pub fn compose(&self, key: &Key) -> Result<Composed> {
        let failed = |message: String| Error::Shader { label: key.label(), message };
        let root = format!("package::{}::{}", key.family, key.name);

        let options = wesl::CompileOptions {
            features: wesl::Features {
                default: wesl::Feature::Error,
                flags: FLAGS
                    .iter()
                    .map(|&flag| ((*flag).to_owned(), key.flags.contains(flag).into()))
                    .chain([
                        (HALF.to_owned(), (key.dtype == DType::F16).into()),
                        (MATRIX_16.to_owned(), key.tiling.is_some_and(|tiling| tiling.side == 16).into()),
                        (SCALAR_PANELS.to_owned(), key.tiling.is_some_and(|tiling| !tiling.vectors).into()),
                    ])
                    .collect(),
            },
            // WESL does not know cooperative matrices; naga validates all kernels anyway.
            validate: key.tiling.is_none(),
            ..Default::default()
        };
        if let Some(unknown) = key.flags.iter().find(|flag| !FLAGS.contains(flag)) {
            return Err(failed(format!("unknown conditional {unknown:?}")));
        }

        let mut constants = format!("const BLOCK: u32 = {}u;\n", key.block.unwrap_or(0));
        if let Some(Tiling { side, lanes, vectors: _, tall, wide, depth, rows, columns, parts }) = key.tiling
        {
            let shape = [("SIDE", side), ("LANES", lanes), ("BM", tall), ("BN", wide), ("BK", depth)];
            let subgroup = [("ROWS", rows), ("COLUMNS", columns), ("PARTS", parts)];
            for (name, value) in shape.into_iter().chain(subgroup) {
                constants += &format!("const {name}: u32 = {value}u;\n");
            }
        }
        let files = Files { sources: self, constants };
        // Without mangling, bindings keep the names that the host uses. Two items of one name are a redefinition then, which
        // naga refuses.
        let composed = wesl::compile_sourcemap(
            &root.parse().map_err(|error| failed(format!("{root}: {error}")))?,
            &files,
            &wesl::NoMangler,
            &options,
        )
        .map_err(|error| failed(locate(error)))?;
        let modules = composed.modules.iter().filter_map(|path| {
            let file = file_of(path);
            self.text(&file).map(|text| (self.shown(&file), text.clone()))
        });
        // Directives come first, and only where needed, since not every device allows them.
        let enabled = match (key.is_half(), key.tiling) {
            (_, Some(_)) => "enable f16;\nenable wgpu_cooperative_matrix;\n",
            (true, None) => "enable f16;\n",
            (false, None) => "",
        };
        let wgsl = declare_shared(format!("{enabled}{composed}"), &key.shared);
        Ok(Composed { label: key.label(), wgsl, modules: modules.collect() })
    }
}

/// Declares the storage buffers of these binding numbers read-write.
fn declare_shared(wgsl: String, slots: &BTreeSet<u32>) -> String {
    slots.iter().fold(wgsl, |wgsl, slot| {
        // The composer writes a line of attributes, then the declaration.
        let binding = format!("@binding({slot})\nvar<storage, read");
        wgsl.replace(&format!("{binding}>"), &format!("{binding}_write>"))
    })
}

/// WGSL of a permutation, and its source files.
#[derive(Debug, Clone)]
pub struct Composed {
    pub(super) label: String,
    /// The text passed to the driver.
    pub wgsl: String,
    modules: Vec<(String, Cow<'static, str>)>,
}

impl Composed {
    /// The error at a place in the composed text, reported at the declaration around it in its source file.
    pub(super) fn explain(&self, place: Option<naga::SourceLocation>, message: &str) -> Error {
        let failed = |message| Error::Shader { label: self.label.clone(), message };
        let Some(place) = place else { return failed(message.to_owned()) };
        let excerpt = self.wgsl.lines().nth(place.line_number as usize - 1).unwrap_or("").trim();
        let declaration = self.wgsl.lines().take(place.line_number as usize).filter_map(declared).last();
        let found = declaration.and_then(|name| {
            self.modules.iter().find_map(|(file, text)| {
                let line = text.lines().position(|line| declared(line) == Some(name))?;
                Some(format!("{file}:{}: in {name}: ", line + 1))
            })
        });
        failed(format!("{}{message}, at `{excerpt}`", found.unwrap_or_default()))
    }
}

/// The name that a line of WGSL declares at module level, if any.
fn declared(line: &str) -> Option<&str> {
    let at = ["fn ", "struct ", "const ", "alias ", "var<"].iter().find_map(|word| {
        let at = line.find(word)?;
        // Only attributes may precede it. Indented lines declare locals.
        (line[..at].is_empty() || line.starts_with('@')).then_some(at + word.len())
    })?;
    let rest = line[at..].split_once("> ").map_or(&line[at..], |(_, name)| name);
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').find(|name| !name.is_empty())
}

/// Resolver of imports: sources under their file names.
struct Files<'a> {
    sources: &'a Sources,
    constants: String,
}

impl Resolver for Files<'_> {
    fn resolve_source<'a>(&'a self, path: &wesl::ModulePath) -> Result<Cow<'a, str>, wesl::ResolveError> {
        if path.to_string() == CONSTANTS {
            return Ok(Cow::Borrowed(&self.constants));
        }
        let file = file_of(path);
        match self.sources.text(&file) {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => {
                let message = format!("no {}", self.sources.shown(&file));
                Err(wesl::ResolveError::ModuleNotFound(path.clone(), message))
            }
        }
    }

    fn display_name(&self, path: &wesl::ModulePath) -> Option<String> {
        Some(self.sources.shown(&file_of(path)))
    }
}

fn file_of(path: &wesl::ModulePath) -> String {
    let name = path.to_string();
    name.strip_prefix("package::").unwrap_or(&name).replace("::", "/")
}

/// `file:line: message`, with as much of the place as WESL knows.
fn locate(error: wesl::Error) -> String {
    let wesl::Error::Error(diagnostic) = error else {
        return error.to_string();
    };
    let detail = &diagnostic.detail;
    let file = detail.display_name.as_deref().unwrap_or("shaders");
    match (&detail.source, &detail.span) {
        (Some(source), Some(span)) => {
            let line = source[..span.start.min(source.len())].matches('\n').count() + 1;
            format!("{file}:{line}: {}", diagnostic.error)
        }
        _ => format!("{file}: {}", diagnostic.error),
    }
}
