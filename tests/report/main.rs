//! Reports of synthetic runs: correct numbers, one record per epoch, and no external resources.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sections;

use fretwork::Error;
use fretwork::methods::{Kind, MethodConfig};
use fretwork::nn::MlpConfig;
use fretwork::ops::Activation;
use fretwork::report::run as report;
use fretwork::sparse::{Density, Topology};
use fretwork::train::{
    Checkpoint, EpochRecord, Evaluation, LayerRecord, Length, LoadRecord, LogRecord, OptimizerKind, Position,
    RunFolder, Settings, StartRecord, from_hex, to_hex,
};
use tempfile::TempDir;

fn layer(name: &str, [row_blocks, col_blocks]: [usize; 2], places: &[usize]) -> LayerRecord {
    LayerRecord {
        name: name.to_owned(),
        row_blocks,
        col_blocks,
        block: 16,
        nnz: places.len(),
        updates: 0,
        churn: 0,
        empty_rows: 0,
        empty_cols: 0,
        visited: 0.25,
        pattern: set(places, row_blocks * col_blocks),
        resting: None,
    }
}

fn set(members: &[usize], places: usize) -> String {
    let mut words = vec![0u32; places.div_ceil(32)];
    members.iter().for_each(|place| words[place / 32] |= 1 << (place % 32));
    to_hex(&words, places)
}

fn epoch(epoch: u64, test_accuracy: f64, layers: Vec<LayerRecord>) -> LogRecord {
    LogRecord::Epoch(EpochRecord {
        epoch,
        step: 30 * (epoch + 1),
        train: Evaluation { loss: 0.5, accuracy: 0.75, ..Evaluation::NONE },
        test: Evaluation { loss: 0.625, accuracy: test_accuracy, ..Evaluation::NONE },
        validation: None,
        tasks: None,
        confusion: None,
        layers,
        loads: vec![],
        scaling: None,
        notices: vec![],
        networks: None,
        local: vec![],
    })
}

/// Run folder with these records in its log.
fn folder(lines: &[LogRecord]) -> TempDir {
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    folder_of(&text)
}

fn folder_of(log: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.jsonl"), log).unwrap();
    folder
}

fn page(folder: &TempDir) -> String {
    let page = report::render(&RunFolder::inspect(folder.path()).unwrap()).unwrap();
    assert_whole(&page);
    page
}

/// Asserts that a page is complete: no external resource, finite coordinates, and balanced elements.
#[track_caller]
fn assert_whole(page: &str) {
    for outside in ["http", "//", "src=", "href=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    for path in page.split(" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(path.chars().all(|char| "MLHVhvalz -.0123456789".contains(char)), "{path}");
    }
    for element in ["html", "body", "main", "svg", "table", "section", "path", "text", "figure", "details"] {
        let opened = page.matches(&format!("<{element}>")).count()
            + page.matches(&format!("<{element} ")).count()
            - page
                .match_indices(&format!("<{element} "))
                .filter(|(at, _)| closes_itself(&page[*at..]))
                .count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

fn closes_itself(element: &str) -> bool {
    element.find('>').is_some_and(|end| element[..end].ends_with('/'))
}

/// Number of squares of a class, over all pictures.
fn squares(page: &str, class: &str) -> usize {
    page.split("<path class=\"")
        .filter_map(|path| path.strip_prefix(&format!("{class}\" d=\"")))
        .map(|path| path.split('"').next().unwrap().matches("h1v1h-1z").count())
        .sum()
}

#[test]
fn every_stored_block_is_a_square() {
    // 49 columns are not a multiple of 8, so rows of the grid share bytes.
    let grid = [64, 49];
    let at_first: Vec<usize> = (0..157).map(|block| block * 19).collect();
    // Ten blocks are dropped and ten grown; five of the kept ones are inactive.
    let later: Vec<usize> =
        at_first[10..].iter().copied().chain((0..10).map(|block| block * 19 + 1)).collect();
    let after = LayerRecord {
        updates: 4,
        churn: 10,
        visited: 0.053,
        resting: Some(set(&later[..5], 64 * 49)),
        ..layer("layers.0", grid, &later)
    };
    let start = StartRecord { step: 0, layers: vec![layer("layers.0", grid, &at_first)] };
    let page = page(&folder(&[LogRecord::Start(start), epoch(0, 0.875, vec![after])]));
    assert_eq!(page.matches("<figure>").count(), 2);
    assert_eq!(squares(&page, "new"), 10);
    assert_eq!(squares(&page, "resting"), 5);
    assert_eq!(squares(&page, "stored"), 157 + 142);
    // The last place of the first pattern is 156 * 19 = 2964.
    assert!(page.contains(&format!("M{} {}h1v1h-1z", 2964 % 49, 2964 / 49)));
    assert!(page.contains("<b>start</b> 157 blocks, 5.0\u{a0}%"));
    assert!(page.contains("<b>epoch 1</b> 157 blocks, 5.0\u{a0}%"));
    assert!(page.contains("Churn, epoch 1: 6.4\u{a0}%"));
    assert!(page.contains("Visited, epoch 1: 5.3\u{a0}%"));
    assert!(page.contains("1,024 × 784 weights in 64 × 49 blocks of 16"));
    assert!(page.contains("all that follows is from the log alone"));
}

#[test]
fn at_most_eight_pictures() {
    let lines = |changes: bool| -> Vec<_> {
        let at = |index: u64| usize::from(changes && index % 2 == 1);
        (0..30).map(|index| epoch(index, 0.5, vec![layer("layers.0", [4, 4], &[at(index), 2])])).collect()
    };
    let drawn = page(&folder(&lines(true)));
    assert_eq!(drawn.matches("<figure>").count(), 8);
    assert!(drawn.contains("<b>epoch 1</b>") && drawn.contains("<b>epoch 30</b>"));
    // A pattern that stays is drawn once, and its flat curves are not.
    assert!(drawn.contains("Density, epoch 30"));
    let drawn = page(&folder(&lines(false)));
    assert_eq!(drawn.matches("<figure>").count(), 1);
    assert!(drawn.contains("<b>epoch 1 to 30</b> 2 blocks") && !drawn.contains("Density, epoch 30"));
}

#[test]
fn large_grids_are_shaded() {
    // Cells of 2 x 2 blocks: one full, one with a single block.
    let page = page(&folder(&[epoch(0, 0.5, vec![layer("layers.0", [130, 3], &[0, 1, 3, 4, 8])])]));
    assert!(page.contains("viewBox=\"0 0 2 65\""));
    assert!(page.contains("<path class=\"stored\" fill-opacity=\"1\" d=\"M0 0h1v1h-1z\"/>"));
    // The second cell of a row covers a single column of blocks, 2 places, one of them stored.
    assert!(page.contains("<path class=\"stored\" fill-opacity=\"0.5\" d=\"M1 1h1v1h-1z\"/>"));
    assert!(page.contains("of the 2 × 2 blocks of a cell"));
}

#[test]
fn an_epoch_logged_twice_counts_once() {
    let old = epoch(1, 0.123, vec![layer("layers.0", [4, 4], &[1, 2, 3])]);
    let lines = [epoch(0, 0.5, vec![]), old, epoch(1, 0.875, vec![])];
    let page = page(&folder(&lines));
    assert!(page.contains("<dt>Best test accuracy</dt><dd><b>0.8750</b> <span>epoch 2</span>"));
    assert!(!page.contains("0.123"));
    assert!(!page.contains("<figure>"), "the pattern of a line that does not count");
    assert!(page.contains("test, epoch 2: 0.8750"));
}

#[test]
fn the_first_of_equals_is_the_best() {
    let page = page(&folder(&[epoch(0, 0.5, vec![]), epoch(1, 0.75, vec![]), epoch(2, 0.75, vec![])]));
    assert!(page.contains("<dt>Best test accuracy</dt><dd><b>0.7500</b> <span>epoch 2</span>"));
    assert!(page.contains("<dt>Last test accuracy</dt><dd><b>0.7500</b> <span>epoch 3</span>"));
}

#[test]
fn unknown_events_and_empty_lines_are_passed_over() {
    let line = serde_json::to_string(&epoch(0, 0.5, vec![])).unwrap();
    let log = format!("{{\"event\":\"tuned\",\"layers\":7}}\r\n\n{line}\n{{\"event\":\"lunch\"}}");
    assert!(page(&folder_of(&log)).contains("test, epoch 1: 0.5000"));
}

/// A killed run leaves an incomplete last line, which is ignored.
#[test]
fn a_torn_last_line_is_left_out() {
    let [first, second] = [0, 1].map(|index| {
        serde_json::to_string(&epoch(index, 0.5, vec![layer("layers.0", [4, 9], &[0, 35])])).unwrap()
    });
    let wanted = page(&folder_of(&format!("{first}\n")));
    for end in [1, 20, second.len() / 2, second.len() - 1] {
        assert_eq!(page_body(&page(&folder_of(&format!("{first}\n{}", &second[..end])))), page_body(&wanted));
    }
    assert!(page(&folder_of(&format!("{first}\n{second}"))).contains("test, epoch 2: 0.5000"));
}

/// Page without its header, which names the folder.
fn page_body(page: &str) -> &str {
    &page[page.find("</header>").unwrap()..]
}

#[test]
fn damaged_lines_are_refused_by_name() {
    let good = serde_json::to_string(&epoch(0, 0.5, vec![])).unwrap();
    let layers = |layer: LayerRecord| serde_json::to_string(&epoch(1, 0.5, vec![layer])).unwrap();
    let base = || layer("layers.0", [4, 9], &[0, 35]);
    for (line, wanted) in [
        (good[..30].to_owned(), "EOF while parsing"),
        (format!("{good}{good}"), "trailing characters"),
        ("{}".to_owned(), "missing field `event`"),
        ("7".to_owned(), "invalid type"),
        ("\u{1}".to_owned(), "expected value"),
        (good.replace("\"loss\":0.5,", ""), "missing field `loss`"),
        (good.replace("\"epoch\":0", "\"epoch\":-1"), "expected u64"),
        (layers(LayerRecord { nnz: 3, ..base() }), "layers.0: nnz is 3, but the pattern has 2 blocks"),
        (layers(LayerRecord { block: 12, ..base() }), "layers.0: block 12 is none of"),
        (layers(LayerRecord { row_blocks: 0, ..base() }), "layers.0: 0 x 9 blocks are no grid"),
        (layers(LayerRecord { row_blocks: usize::MAX, ..base() }), "blocks are no grid"),
        (layers(LayerRecord { row_blocks: 5, ..base() }), "should be 12 digits, but is 10 long"),
        (layers(LayerRecord { pattern: "00000000zz".to_owned(), ..base() }), "digits from 0 to f"),
        (layers(LayerRecord { pattern: "0000000011".to_owned(), ..base() }), "a set over 36 places"),
        (layers(LayerRecord { resting: Some(set(&[1], 36)), ..base() }), "is resting that is not stored"),
    ] {
        let folder = folder_of(&format!("{good}\n\n{line}\n{good}\n"));
        let error = report::render(&RunFolder::inspect(folder.path()).unwrap()).unwrap_err();
        assert!(matches!(&error, Error::Data { path, .. } if path.ends_with("log.jsonl")), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("log.jsonl: line 3: ") && said.contains(wanted), "{said}");
    }
}

#[test]
fn a_layer_keeps_its_grid() {
    let lines =
        |layers: Vec<LayerRecord>| [epoch(0, 0.5, vec![layer("a", [4, 4], &[1])]), epoch(1, 0.5, layers)];
    for (layers, wanted) in [
        (vec![layer("a", [2, 8], &[1])], "line 2: a: is a grid of 2 x 8 blocks of 16, but was 4 x 4 of 16"),
        (vec![layer("a", [4, 4], &[1]), layer("a", [4, 4], &[2])], "line 2: a: is there twice"),
    ] {
        let folder = folder(&lines(layers));
        let error = report::render(&RunFolder::inspect(folder.path()).unwrap()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn what_is_no_number_leaves_a_gap() {
    let mut lines = vec![];
    for index in 0..3 {
        let mut line = epoch(index, if index == 1 { f64::NAN } else { 0.5 }, vec![]);
        if let LogRecord::Epoch(record) = &mut line {
            record.train = Evaluation { loss: f64::NAN, accuracy: f64::INFINITY, ..Evaluation::NONE };
        }
        lines.push(line);
    }
    let page = page(&folder(&lines));
    assert!(page.contains("<td>NaN</td>"));
    assert!(page.contains("train without a number"));
    // The curve of the test accuracy has two separate points and no line.
    let drawing = page.split("aria-label=\"Accuracy").nth(1).unwrap();
    let line = drawing.split("class=\"line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 0), "{line}");

    let page = page_of_nothing_finite();
    assert!(page.contains("no number to draw"));
    assert!(page.contains("<dt>Last test accuracy</dt><dd><b>NaN</b>"));
    assert!(!page.contains("Best test accuracy"));
}

fn page_of_nothing_finite() -> String {
    let nan = Evaluation { loss: f64::NAN, accuracy: f64::NAN, ..Evaluation::NONE };
    let layer = LayerRecord { visited: f64::NAN, ..layer("layers.0", [2, 2], &[]) };
    page(&folder(&[LogRecord::Epoch(EpochRecord {
        epoch: u64::MAX,
        step: u64::MAX,
        train: nan,
        test: nan,
        validation: None,
        tasks: None,
        confusion: None,
        layers: vec![layer],
        loads: vec![],
        scaling: None,
        notices: vec![],
        networks: None,
        local: vec![],
    })]))
}

#[test]
fn numbers_of_any_size_are_drawn_or_left_out() {
    for value in [0.0, 1.0, 1e-300, 1e29, 1e300, -1e300, f64::MAX, f64::MIN_POSITIVE] {
        let lines = [0, 1, u64::MAX].map(|index| {
            let (test, train) = (
                Evaluation { loss: value, accuracy: value, ..Evaluation::NONE },
                Evaluation { loss: -value, accuracy: 1.0, ..Evaluation::NONE },
            );
            LogRecord::Epoch(EpochRecord {
                epoch: index,
                step: 0,
                train,
                test,
                validation: None,
                tasks: None,
                confusion: None,
                layers: vec![],
                loads: vec![],
                scaling: None,
                notices: vec![],
                networks: None,
                local: vec![],
            })
        });
        page(&folder(&lines));
    }
}

#[test]
fn an_empty_log_says_so() {
    assert!(page(&folder_of("")).contains("The log has no epoch yet"));
    let start = StartRecord { step: 0, layers: vec![layer("layers.0", [2, 3], &[4])] };
    let page = page(&folder(&[LogRecord::Start(start)]));
    assert!(page.contains("The log has no epoch yet"));
    assert_eq!(squares(&page, "stored"), 1);
}

fn settings() -> Settings {
    Settings {
        data: "csv:<b>\"tables\" & 'more'</b>.csv".to_owned(),
        method: MethodConfig::new(Kind::Rigl),
        length: Length::Epochs(3),
        batch: 50,
        optimizer: OptimizerKind::Sgd,
        learning_rate: 0.05,
        weight_decay: 0.0005,
        ..Settings::new(MlpConfig {
            inputs: 30,
            hidden: vec![32],
            classes: 3,
            block: 16,
            sparsity: Some(0.75),
            density: Density::Uniform,
            activation: Activation::Relu,
            dropout: 0.1,
            seed: 7,
            layers: Default::default(),
            local: None,
        })
    }
}

#[test]
fn settings_and_parameters_are_from_the_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&directory.path().join("run")).unwrap();
    let mut checkpoint = Checkpoint::new(
        settings(),
        Position { step: 1234, replaced: 0, loss_sum: 0.0, hits: 0.0, best: None },
        serde_json::Value::Null,
    );
    let topology = Topology::from_csr(32, 32, 16, &[0, 1, 1], &[1]).unwrap();
    checkpoint.put_sparse("layers.0.weight", &topology, &[0.0; 256]);
    checkpoint.put("layers.0.bias", &[32], vec![0.0; 32]);
    checkpoint.put("layers.1.weight", &[3, 32], vec![0.0; 96]);
    checkpoint.put("layers.1.bias", &[3], vec![0.0; 3]);
    checkpoint.put("optimizer.layers.1.bias.velocity", &[3], vec![0.0; 3]);
    folder.save(&checkpoint).unwrap();
    folder.log(&epoch(0, 0.5, vec![layer("<i>&", [2, 2], &[1])])).unwrap();

    let path = report::write(&folder, None).unwrap();
    assert_eq!(path, directory.path().join("run/report.html"));
    let page = std::fs::read_to_string(&path).unwrap();
    assert_whole(&page);
    let data = "csv:&lt;b&gt;&quot;tables&quot; &amp; &#39;more&#39;&lt;/b&gt;.csv";
    assert!(page.contains(&format!("<title>{data}, 30-32-3 · fretwork</title>")));
    assert!(page.contains(&format!("<td>{data}</td>")));
    assert!(page.contains("&lt;i&gt;&amp;") && !page.contains("<i>"));
    assert!(page.contains("75\u{a0}% sparse in blocks of 16, uniform densities; the pattern is fixed"));
    assert!(page.contains("The checkpoint is at step 1,234."));
    // 16 * 14 + 32 + 3 * 32 + 3 of 32 * 31 + 3 * 33: two columns of the block are padding.
    let tile = "<b>355</b> <span>32.5\u{a0}% of 1,091 dense</span>";
    assert!(page.contains(&format!("<dt>Parameters present</dt><dd>{tile}")));
    assert!(page.contains("<b>25.0\u{a0}%</b> <span>256 of 1,024 weights</span>"));
    for (name, value) in [("dropout", "0.1"), ("epochs", "3"), ("learning rate", "0.05"), ("hidden", "32")] {
        assert!(page.contains(&format!("<th scope=\"row\">{name}</th><td>{value}</td>")), "{name}");
    }

    let elsewhere = directory.path().join("page.html");
    assert_eq!(report::write(&folder, Some(&elsewhere)).unwrap(), elsewhere);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), page);
}

/// Records survive a round trip through JSON, NaN included.
#[test]
fn records_come_back() {
    let text = serde_json::to_string(&epoch(3, f64::NAN, vec![layer("layers.0", [4, 9], &[0, 35])])).unwrap();
    assert!(
        text.starts_with("{\"event\":\"epoch\",\"epoch\":3,\"step\":120,\"train\":{\"loss\":0.5,"),
        "{text}"
    );
    // An accuracy of NaN is none, as that of a regression.
    assert!(text.contains("\"test\":{\"loss\":0.625}"), "{text}");
    assert!(text.contains("\"pattern\":\"0100000008\""), "{text}");
    let LogRecord::Epoch(record) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
    assert!(record.test.accuracy.is_nan());
    assert_eq!(from_hex(&record.layers[0].pattern, 36).unwrap(), [1, 8]);
    assert!(serde_json::to_string(&LogRecord::Other).is_err());
}

/// The load of experts is drawn as a cell for each expert and epoch, with the extremes in words.
#[test]
fn loads_of_experts_are_drawn() {
    let load = |taken: [u32; 4], dropped: [u32; 4]| LoadRecord {
        name: "blocks.0.<feed>".to_owned(),
        taken: taken.to_vec(),
        dropped: dropped.to_vec(),
    };
    let lines = [load([0, 0, 80, 0], [0, 0, 20, 0]), load([10, 20, 30, 20], [0; 4])];
    let lines = lines.into_iter().enumerate().map(|(index, load)| {
        let LogRecord::Epoch(record) = epoch(index as u64, 0.5, vec![]) else { unreachable!() };
        LogRecord::Epoch(EpochRecord { loads: vec![load], ..record })
    });
    let text = page(&folder(&lines.collect::<Vec<_>>()));
    assert!(
        text.contains("<h3>blocks.0.&lt;feed&gt; <small>4 experts; in the last epoch from 12.5\u{a0}% to")
    );
    assert!(text.contains("the darkest cell is 100.0\u{a0}% of the tokens, an equal share is 25.0\u{a0}%"));
    assert_eq!(text.matches("of tokens</title>").count(), 8);
    // Networks without experts have no such section.
    assert!(!page(&folder(&[epoch(0, 0.5, vec![])])).contains("<h2>Experts</h2>"));
}
