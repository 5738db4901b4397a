//! Kernels from outside the crate: added to a device, dispatched with arguments by name, compared with a CPU twin, and refused
//! by name where source or arguments are wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use fretwork::check::{self, Check, Verdict};
use fretwork::gpu::{Args, Class, DType, Gpu, Key, Options, Recorder, Tensor};
use fretwork::random::{self, Stream};
use fretwork::reference::bound::UNIT;
use fretwork::sparse::{self, Pattern};
use fretwork::{Error, Result, ops};

/// `out = x * sigmoid(beta * x)`, with the library's sigmoid.
const SWISH: &str = "
import package::common::grid::workgroup_index;
import package::common::activation::sigmoid;

struct Params {
    n: u32,
    beta: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i < params.n {
        out[i] = x[i] * sigmoid(params.beta * x[i]);
    }
}
";

fn swish_twin(x: f32, beta: f32) -> f32 {
    x / (1.0 + (-beta * x).exp())
}

fn device() -> Gpu {
    Gpu::request(Options::default()).unwrap()
}

fn numbers(count: usize) -> Vec<f32> {
    let mut walk = random::Key::new(4, Stream::Check(0)).walk();
    (0..count).map(|_| 8.0 * walk.uniform() - 4.0).collect()
}

fn upload(gpu: &Gpu, values: &[f32]) -> Tensor {
    gpu.upload(Class::Activations, "x", &[values.len()], values).unwrap()
}

fn workgroups(elements: usize) -> u64 {
    elements.div_ceil(64) as u64
}

/// Records `kernel` on `x`, into a tensor that it returns.
fn swish(rec: &mut Recorder<'_>, kernel: &Key, x: &Tensor, beta: f32) -> Result<Tensor> {
    let out = rec.gpu().alloc::<f32>(Class::Activations, "out", x.shape())?;
    let args = Args::new().tensor("x", x).tensor("out", &out).u32("n", x.len() as u32).f32("beta", beta);
    rec.dispatch(kernel, &args, workgroups(x.len()))?;
    Ok(out)
}

/// The kernel runs next to the library's, on grids of one and of two dimensions; the check finds a wrong twin.
#[test]
fn a_kernel_agrees_with_its_twin() {
    for fold_grids_at in [None, Some(5)] {
        let gpu = Gpu::request(Options { fold_grids_at, ..Options::default() }).unwrap();
        let kernel = gpu.add_shader("mine", "swish", SWISH).unwrap();
        let x = numbers(1000);
        let verdict = |beta: f32, of_twin: f32| {
            let (kernel, x) = (kernel.clone(), x.clone());
            let check = Check::new(kernel.label(), move |gpu| {
                let device_x = upload(gpu, &x);
                let found = check::thrice(gpu, |rec| swish(rec, &kernel, &device_x, beta))?;
                let wanted: Vec<f32> = x.iter().map(|&x| swish_twin(x, of_twin)).collect();
                // Four roundings, and an exponential within a few units in the last place.
                let bound = |at: usize| 64.0 * UNIT * f64::from(wanted[at].abs().max(1e-3));
                Ok(found.map_or_else(|verdict| verdict, |found| check::judge(&found, &wanted, bound)))
            });
            assert!(check.applies_to(&gpu));
            check.run(&gpu).unwrap()
        };
        assert!(matches!(verdict(1.5, 1.5), Verdict::Right(_)), "{:?}", verdict(1.5, 1.5));
        assert!(matches!(verdict(1.5, 1.4), Verdict::Wrong(_)));

        let mut rec = Recorder::new(&gpu);
        let x = upload(&gpu, &x);
        ops::scale_gradient(&mut rec, &x, &x, &ops::LossScale::new(&gpu, 2.0).unwrap()).unwrap_err();
        let out = swish(&mut rec, &kernel, &x, 1.0).unwrap();
        ops::fill(&mut rec, &out, 0).unwrap();
        let plan = rec.finish().unwrap();
        assert_eq!(plan.labels().next(), Some("fretwork.mine.swish.f32"));
        gpu.run(&plan).unwrap();
        assert_eq!(gpu.read::<f32>(&out).unwrap().wait().unwrap(), [0.0; 1000]);
    }
}

/// The number of blocks of each row, read from a topology that the shader cannot write to; and a module of one's own.
#[test]
fn a_kernel_reads_a_topology_and_imports_a_module_from_outside() {
    let gpu = device();
    gpu.add_shader("mine", "tools", "fn length(first: u32, last: u32) -> u32 { return last - first; }")
        .unwrap();
    let source = "
import package::common::topology::row_line;
import package::mine::tools::length;

@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3<u32>) {
    let line = row_line(id.x);
    out[id.x] = length(line.begin, line.end);
}
";
    let kernel = gpu.add_shader("mine", "row_lengths", source).unwrap();
    let topology = sparse::random(64, 96, 16, 9, random::Key::new(1, Stream::Pattern(0))).unwrap();
    let pattern = Pattern::upload(&gpu, &topology).unwrap();
    let out = gpu.zeros::<u32>(Class::Scratch, "out", &[4]).unwrap();
    let mut rec = Recorder::new(&gpu);
    let args = pattern.bind(Args::new().tensor("out", &out), "topology");
    rec.dispatch(&kernel, &args, 4).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let wanted: Vec<u32> =
        (0..4).map(|row| topology.coordinates().filter(|&(of, _)| of == row).count() as u32).collect();
    assert_eq!(gpu.read::<u32>(&out).unwrap().wait().unwrap(), wanted);

    let mut rec = Recorder::new(&gpu);
    let error = rec.dispatch(&kernel, &pattern.bind(Args::new(), "out"), 4).unwrap_err();
    assert!(matches!(error, Error::Argument { argument: "out", .. }), "{error:?}");
    assert!(error.to_string().contains("written"), "{error}");
}

/// An index outside its binding reads some element of it or none, and writes nothing elsewhere.
#[test]
fn a_kernel_from_outside_is_compiled_with_bounds_checks() {
    let gpu = device();
    let kernel = gpu.add_shader("mine", "swish", SWISH).unwrap();
    let x = upload(&gpu, &numbers(64));
    let out = gpu.zeros::<f32>(Class::Scratch, "out", &[64]).unwrap();
    let args = Args::new().tensor("x", &x).tensor("out", &out).u32("n", u32::MAX).f32("beta", 1.0);
    let mut rec = Recorder::new(&gpu);
    rec.dispatch(&kernel, &args, 1 << 16).unwrap();
    gpu.run(&rec.finish().unwrap()).unwrap();
    let found = gpu.read::<f32>(&out).unwrap().wait().unwrap();
    assert!(found.iter().all(|x| x.is_finite()), "{found:?}");
}

#[test]
fn names_are_new_identifiers() {
    let gpu = device();
    gpu.add_shader("mine", "swish", SWISH).unwrap();
    for (family, name, argument) in [
        ("mine", "swish", "name"),
        ("dds", "lane", "name"),
        ("common", "grid", "name"),
        ("", "swish", "family"),
        ("mine", "", "name"),
        ("mine", "a/b", "name"),
        ("mine::other", "swish", "family"),
        ("mine", "7", "name"),
    ] {
        let error = gpu.add_shader(family, name, SWISH).unwrap_err();
        assert!(
            matches!(&error, Error::Argument { argument: found, .. } if *found == argument),
            "{family}/{name}: {error:?}"
        );
    }
    // A clone is the same device.
    assert!(gpu.clone().with_variant(None).add_shader("mine", "swish", SWISH).is_err());
    assert!(device().add_shader("mine", "swish", SWISH).is_ok());
}

/// Each wrong argument is refused by its name, and nothing is recorded.
#[test]
fn arguments_that_do_not_match_are_refused_by_name() {
    let gpu = device();
    let other = device();
    let kernel = gpu.add_shader("mine", "swish", SWISH).unwrap();
    let (x, far) = (upload(&gpu, &numbers(64)), upload(&other, &numbers(64)));
    let out = gpu.zeros::<f32>(Class::Scratch, "out", &[64]).unwrap();
    let words = gpu.zeros::<u32>(Class::Scratch, "words", &[64]).unwrap();
    let good = || Args::new().tensor("x", &x).tensor("out", &out).u32("n", 64).f32("beta", 1.0);
    let tensors = || Args::new().tensor("x", &x).tensor("out", &out);
    let scalars = || Args::new().u32("n", 64).f32("beta", 1.0);
    let mut rec = Recorder::new(&gpu);
    for (args, name) in [
        (scalars().tensor("x", &x), "out"),
        (good().tensor("y", &x), "y"),
        (good().tensor("x", &x), "x"),
        (scalars().tensor("x", &words).tensor("out", &out), "x"),
        (scalars().tensor("x", &far).tensor("out", &out), "x"),
        (scalars().tensor("x", &out).tensor("out", &out), "out"),
        (tensors().u32("n", 64), "beta"),
        (good().f32("gamma", 1.0), "gamma"),
        (good().u32("n", 64), "n"),
        (tensors().f32("n", 64.0).f32("beta", 1.0), "n"),
        (tensors().u32("n", 64).u32("beta", 1), "beta"),
    ] {
        let error = rec.dispatch(&kernel, &args, 1).unwrap_err();
        match &error {
            Error::Argument { op, argument, .. } => {
                assert_eq!((op.as_str(), *argument), ("fretwork.mine.swish.f32", name), "{error}");
            }
            Error::Rejected { label, message } => {
                assert_eq!(label, "fretwork.mine.swish.f32");
                assert!(message.contains(&format!("{name:?}")), "{name}: {error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(rec.is_empty());
    rec.dispatch(&kernel, &good(), 1).unwrap();
    assert_eq!(rec.len(), 1);

    // A shader without parameters takes none.
    let bare = "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
        @compute @workgroup_size(1) fn main() { out[0] = 1.0; }";
    let bare = gpu.add_shader("mine", "bare", bare).unwrap();
    let error = rec.dispatch(&bare, &Args::new().tensor("out", &out).u32("n", 1), 1).unwrap_err();
    assert!(error.to_string().contains("\"n\""), "{error}");

    // A kernel of the library has no bounds checks, so its operation dispatches it.
    let error = rec.dispatch(&Key::new("fill", "words"), &Args::new().tensor("out", &out), 1).unwrap_err();
    assert!(matches!(error, Error::Argument { argument: "key", .. }), "{error:?}");
    let error = rec.dispatch(&Key::new("mine", "nowhere"), &Args::new(), 1).unwrap_err();
    assert!(matches!(&error, Error::Shader { message, .. } if message.contains("mine/nowhere")), "{error:?}");
    assert_eq!(rec.len(), 1);
}

/// Each wrong source is refused with the kernel's label and, where there is one, the line.
#[test]
fn sources_that_do_not_compose_or_validate_are_refused_by_name() {
    let gpu = device();
    let out = gpu.zeros::<f32>(Class::Scratch, "out", &[64]).unwrap();
    let main = "@compute @workgroup_size(1) fn main() { out[0] = 1.0; }";
    let buffer = "@group(0) @binding(0) var<storage, read_write> out: array<f32>;";
    let calls_f = main.replace("1.0", "f()");
    let cases: [(&'static str, String, &str); 12] = [
        ("syntax", format!("{buffer}\n\nfn f( {{}}\n{main}"), "mine/syntax.wgsl:3"),
        ("import", format!("import package::common::nowhere::f;\n{buffer}\n{calls_f}"), "nowhere"),
        ("item", format!("import package::common::grid::f;\n{buffer}\n{calls_f}"), "f"),
        ("flag", format!("@if(no_such_flag) const A = 1;\n{buffer}\n{main}"), "no_such_flag"),
        ("types", format!("{buffer}\n@compute @workgroup_size(1) fn main() {{ out[0] = 1u; }}"), "types"),
        ("entry", format!("{buffer}\n@compute @workgroup_size(1) fn start() {{ out[0] = 1.0; }}"), "start"),
        ("group", format!("{}\n{main}", buffer.replace("group(0)", "group(1)")), "group 0"),
        (
            "texture",
            format!(
                "{buffer}\n@group(0) @binding(1) var image: texture_2d<f32>;\n\
                 @compute @workgroup_size(1) fn main() {{ out[0] = textureLoad(image, vec2(0), 0).x; }}"
            ),
            "\"image\"",
        ),
        (
            "params",
            format!(
                "{buffer}\n@group(0) @binding(7) var<uniform> params: vec4<f32>;\n\
                 @compute @workgroup_size(1) fn main() {{ out[0] = params.x; }}"
            ),
            "\"params\"",
        ),
        (
            "member",
            format!(
                "{buffer}\nstruct Params {{ n: vec2<u32> }}\n\
                 @group(0) @binding(7) var<uniform> params: Params;\n\
                 @compute @workgroup_size(1) fn main() {{ out[params.n.x] = 1.0; }}"
            ),
            "\"params\"",
        ),
        ("large", format!("{buffer}\n{}", main.replace("size(1)", "size(4096, 16)")), "invocations"),
        ("broken", "%".to_owned(), "mine/broken.wgsl:1"),
    ];
    let mut rec = Recorder::new(&gpu);
    for (name, source, part) in cases {
        let kernel = gpu.add_shader("mine", name, source).unwrap();
        let Err(error) = rec.dispatch(&kernel, &Args::new().tensor("out", &out), 1) else {
            panic!("{name} is accepted");
        };
        assert!(matches!(error, Error::Shader { .. } | Error::Limit { .. }), "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("fretwork.mine.{name}.f32")) && text.contains(part), "{name}: {text}");
    }
    assert!(rec.is_empty());
}

/// A kernel whose elements are f16 where its key says so.
#[test]
fn a_kernel_has_a_dtype() {
    let source = "
@if(half) alias Element = f16;
@if(!half) alias Element = f32;
@group(0) @binding(0) var<storage, read_write> out: array<Element>;
@compute @workgroup_size(1) fn main() { out[0] = Element(1.5); }
";
    let gpu = device();
    let kernel = gpu.add_shader("mine", "typed", source).unwrap();
    let mut rec = Recorder::new(&gpu);
    let out = gpu.zeros::<f32>(Class::Scratch, "out", &[2]).unwrap();
    rec.dispatch(&kernel, &Args::new().tensor("out", &out), 1).unwrap();
    let half = kernel.dtype(DType::F16);
    let refused = rec.dispatch(&half, &Args::new().tensor("out", &out), 1).unwrap_err();
    if gpu.has_f16() {
        assert!(matches!(refused, Error::Argument { argument: "out", .. }), "{refused:?}");
        let halves = gpu.zeros::<half::f16>(Class::Scratch, "out", &[2]).unwrap();
        rec.dispatch(&half, &Args::new().tensor("out", &halves), 1).unwrap();
        gpu.run(&rec.finish().unwrap()).unwrap();
        assert_eq!(gpu.read::<half::f16>(&halves).unwrap().wait().unwrap()[0].to_f32(), 1.5);
    } else {
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused:?}");
        gpu.run(&rec.finish().unwrap()).unwrap();
    }
    assert_eq!(gpu.read::<f32>(&out).unwrap().wait().unwrap()[0], 1.5);
}
