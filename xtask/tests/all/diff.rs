//! Tests `cargo xtask diff` on stored results, and its page in a real browser: folding, search, and hostile
//! output of a guest.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};
use xtask::base::verdict::Verdict;
use xtask::base::workspace::Workspace;
use xtask::explain::diff::compared::{Comparison, SideName, compare};
use xtask::explain::diff::page::page;
use xtask::fetch::chromium;
use xtask::guest::fingerprint::Fingerprint;
use xtask::run::results::{Stored, StoredStep};

use crate::common::root;

trials! {
    stored_results_are_compared_without_a_guest,
    ; ignored:
    // Needs Chromium; `cargo xtask test --full` gets it.
    the_page_folds_and_is_searched,
    // Needs Chromium; `cargo xtask test --full` gets it.
    the_page_is_safe_and_legible,
    // Makes docs/diff.png again, with guests.
    picture_for_the_readme,
}

/// What the picture in README shows.
const PICTURE: [&str; 5] = ["debian-5.10", "debian-6.12", "function-graph", "graph-depth", "call-stack"];

/// A name that would run a script if it were not escaped.
const HOSTILE: &str = "<img/src=x:y/onerror=document.title='hit'>";

/// How long the browser may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Chromium, driven by its DevTools protocol, with one page open.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// What the page asked the network for.
    requests: Vec<String>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Starts it; fails if none is available.
    fn start() -> Browser {
        let chromium =
            chromium::get(&Workspace::open(false).unwrap().host).unwrap_or_else(|error| panic!("{error}"));
        eprintln!("{}", chromium.version);
        let profile = tempfile::tempdir().unwrap();
        let mut command = chromium.command(profile.path());
        command.args(["--remote-debugging-port=0", "--window-size=1280,960", "about:blank"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = said
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
            .expect("the browser ended without an address");
        // Read and drop its further output, so that it does not block.
        std::thread::spawn(move || said.for_each(drop));
        let host = address.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(address.as_str(), stream).unwrap();
        let requests = Vec::new();
        let mut browser = Browser { child, socket, session: None, calls: 0, requests, _profile: profile };
        let targets = browser.call("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().unwrap();
        let page = pages.iter().find(|target| target["type"] == "page").unwrap()["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": page, "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({}));
        browser.call("Network.enable", json!({}));
        browser
    }

    /// Calls a method of the protocol and returns its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut request = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let message = self.next();
            if message["id"] == json!(self.calls) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// The next message, an answer or an event.
    fn next(&mut self) -> Value {
        loop {
            let message =
                self.socket.read().unwrap_or_else(|error| panic!("the browser does not answer: {error}"));
            if let Message::Text(text) = message {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["method"] == "Network.requestWillBeSent" {
                    let url = message["params"]["request"]["url"].as_str();
                    self.requests.extend(url.map(str::to_owned));
                }
                return message;
            }
        }
    }

    /// Opens a page and waits until all of it is there.
    fn open(&mut self, path: &Path) {
        self.call("Page.navigate", json!({ "url": format!("file://{}", path.display()) }));
        while self.next()["method"] != "Page.loadEventFired" {}
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Clicks with the mouse in the middle of an element.
    fn click(&mut self, element: &str) {
        let place = self.value(&format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center', behavior: 'instant' }});
               const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", params);
        }
    }

    /// Presses a key, by its name and what it types.
    fn press(&mut self, key: &str, text: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    fn type_in(&mut self, text: &str) {
        text.chars().for_each(|c| self.press(&c.to_string(), &c.to_string()));
    }

    /// The text of the visible ones among some elements.
    fn seen(&mut self, selector: &str) -> Vec<String> {
        let seen = self.value(&format!(
            "Array.from(document.querySelectorAll({})).filter((e) => e.checkVisibility())
               .map((e) => e.textContent)",
            json!(selector)
        ));
        seen.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    /// The visible functions of a case.
    fn functions(&mut self, case: &str) -> Vec<String> {
        self.seen(&format!("#case-{case} .name"))
    }

    fn picture(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }
}

/// A result made up of the outputs of commands.
fn stored(case: &str, kernel: &str, outputs: &[&str]) -> Stored {
    let step = |output: &&str| StoredStep {
        command: "snaptrace show".into(),
        output: (*output).to_owned(),
        status: Some(0),
    };
    let options = "-icount shift=4,sleep=off".to_owned();
    Stored {
        case: case.into(),
        kernel: kernel.into(),
        identity: "1".into(),
        verdict: Verdict::Pass,
        why: String::new(),
        steps: outputs.iter().map(step).collect(),
        filters: Vec::new(),
        fingerprint: Fingerprint { options, programs: "1".into(), ..Fingerprint::default() },
        took_ms: 0,
        runs: 1,
    }
}

fn graph(lines: &str) -> String {
    let line = |line: &str| match line.trim() {
        "}" => format!(" 0)   9.000 us    |  {line}\n"),
        call if call.ends_with(';') => format!(" 0)   1.600 us    |  {line}\n"),
        _ => format!(" 0)               |  {line}\n"),
    };
    format!("# tracer: function_graph\n{}", lines.lines().map(line).collect::<String>())
}

/// Writes the page of a comparison with every kind of difference to a file.
fn made_up(folder: &Path) -> PathBuf {
    let old = graph(
        "alloc() {\n  slab();\n  cond();\n  fail();\n}\n_do_fork() {\n  copy();\n}\nsteady() {\n  inner() {\n    innermost();\n  }\n}",
    );
    let new = graph(&format!(
        "alloc() {{\n  slab();\n  node() {{\n    cond();\n    fail();\n    fail();\n  }}\n  {HOSTILE}();\n}}\nkernel_clone() {{\n  copy();\n}}\nsteady() {{\n  inner() {{\n    innermost();\n  }}\n}}"
    ));
    let hostile = format!("nop\n{HOSTILE}\n");
    let case = |name: &str, old: &str, new: &str| {
        compare("made up", &stored(name, "old", &[old]), &stored(name, "new", &[new]), true)
    };
    let name = |name: &str| SideName { name: name.into(), about: "made up".into() };
    let comparison = Comparison {
        names: [name("old"), name("new")],
        no_instructions: None,
        cases: vec![case("graph", &old, &new), case("text", "nop\n", &hostile), case("calm", &old, &old)],
    };
    let path = folder.join("page.html");
    fs::write(&path, page(&comparison)).unwrap();
    path
}

/// `cargo xtask diff` with some arguments: its exit code and what it says on both channels.
fn diff(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("diff").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn stored_results_are_compared_without_a_guest() {
    let run = tempfile::tempdir().unwrap();
    let keep = |kernel: &str, case: &str, lines: &str| {
        let folder = run.path().join(kernel).join(case);
        fs::create_dir_all(&folder).unwrap();
        stored(case, kernel, &[&graph(lines)]).save(&folder).unwrap();
    };
    keep("5.4", "function-graph", "f() {\n  a();\n}");
    keep("6.1-src", "function-graph", "f() {\n  b();\n}");
    keep("5.4", "graph-depth", "f() {\n  a();\n}");
    keep("6.1-src", "graph-depth", "f() {\n  a();\n}");
    let [old, new] = ["5.4", "6.1-src"].map(|kernel| run.path().join(kernel).display().to_string());
    let html = run.path().join("page.html");

    let (code, said, complaints) = diff(&[&old, &new, "--html", html.to_str().unwrap()]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    let tree = "\
function-graph: 1 added, 1 gone
  $ snaptrace show
         calls  instr.
    f        1     463
-     a      1     100
+     b      1     100

graph-depth: the same
";
    assert!(said.ends_with(tree), "{said}");
    assert!(fs::read_to_string(&html).unwrap().starts_with("<!DOCTYPE html>"));

    let code_of = |arguments: &[&str]| diff(arguments).0;
    assert_eq!(code_of(&[&old, &new, "--exit-code"]), Some(200));
    assert_eq!(code_of(&[&old, &new, "graph-depth", "--exit-code"]), Some(0));
    // A named case without results is reported.
    let (_, said, _) = diff(&[&old, &new, "list"]);
    assert!(said.contains("list: not compared: there is no result of it in"), "{said}");

    let whole = run.path().display().to_string();
    let (code, _, complaints) = diff(&[&whole, &new]);
    assert_eq!(code, Some(2));
    assert!(complaints.contains("they are of several kernels"), "{complaints}");
    let (code, _, complaints) = diff(&["debian-61", &new]);
    assert_eq!(code, Some(2));
    assert!(complaints.contains("did you mean debian-6.1?"), "{complaints}");
    let (code, _, complaints) = diff(&[&old, &new, "--html", "/nosuch/page.html"]);
    assert_eq!(code, Some(2));
    assert!(complaints.contains("cannot write the page /nosuch/page.html"), "{complaints}");
}

fn the_page_folds_and_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    browser.open(&made_up(folder.path()));

    // Unchanged rows are folded at first, and unfold by mouse and keyboard.
    let at_first = ["alloc", "slab", "node", "cond", "fail", HOSTILE, "kernel_clone", "copy", "steady"];
    assert_eq!(browser.functions("graph"), at_first);
    assert_eq!(browser.functions("calm"), ["alloc", "_do_fork", "steady"]);
    let summary = |function: &str| {
        format!(
            "Array.from(document.querySelectorAll('#case-graph summary'))
               .find((e) => e.querySelector('.name').textContent === '{function}')"
        )
    };
    browser.click(&summary("alloc"));
    assert_eq!(browser.functions("graph"), ["alloc", "kernel_clone", "copy", "steady"]);
    browser.click(&summary("alloc"));
    assert_eq!(browser.functions("graph"), at_first);
    browser.value(&format!("{}.focus()", summary("steady")));
    browser.press("Enter", "\r");
    assert_eq!(browser.functions("graph"), [&at_first[..], &["inner"]].concat());
    browser.press("Enter", "\r");
    assert_eq!(browser.functions("graph"), at_first);
    browser.click("document.getElementById('unfold')");
    assert_eq!(browser.functions("graph").last().unwrap(), "innermost");
    browser.click("document.getElementById('fold')");
    assert_eq!(browser.functions("graph"), ["alloc", "kernel_clone", "steady"]);

    // A search shows the matches, their callers and their callees.
    browser.press("/", "/");
    browser.type_in("FAI");
    assert_eq!(browser.functions("graph"), ["alloc", "node", "fail"]);
    assert_eq!(browser.functions("calm"), ["alloc", "fail"]);
    assert_eq!(browser.seen("nav a").len(), 2);
    assert_eq!(browser.seen("#found"), ["2 found"]);
    browser.press("Escape", "");
    assert_eq!(browser.functions("graph"), ["alloc", "kernel_clone", "steady"]);
    // The old name also matches.
    browser.type_in("_do_fork");
    assert_eq!(browser.functions("graph"), ["kernel_clone"]);
    browser.press("Escape", "");
    browser.type_in("no such function");
    assert_eq!(browser.seen("nav a"), Vec::<String>::new());
    assert_eq!(browser.seen("#found"), ["0 found"]);
    browser.press("Escape", "");

    // Only changes: unchanged rows and cases are hidden.
    browser.click("document.getElementById('unfold')");
    browser.click("document.getElementById('only')");
    let changed = ["alloc", "node", "cond", "fail", HOSTILE, "kernel_clone"];
    assert_eq!(browser.functions("graph"), changed);
    assert_eq!(browser.seen("h2"), ["graph", "text"]);
    browser.click("document.getElementById('only')");
    assert_eq!(browser.seen("h2"), ["graph", "text", "calm"]);

    // There are signs in addition to colours, and figures next to names.
    let row = |function: &str| {
        format!(
            "Array.from(document.querySelectorAll('#case-graph .row'))
               .find((e) => e.querySelector('.name')?.textContent === {}).innerText.split(/\\s+/).join(' ')",
            json!(function)
        )
    };
    let mut text = |function: &str| browser.value(&row(function)).as_str().unwrap().to_owned();
    assert_eq!(text("node"), "+ node 1 263");
    assert_eq!(text("fail"), "> fail was below alloc 1 → 2 100");
    assert!(text("kernel_clone").starts_with("~ kernel_clone _do_fork → kernel_clone, since 5.10"));
    assert!(text("slab").starts_with("slab 1 100"));
}

fn the_page_is_safe_and_legible() {
    let folder = tempfile::tempdir().unwrap();
    let path = made_up(folder.path());
    let mut browser = Browser::start();
    browser.open(&path);
    assert_eq!(browser.value("document.title"), "old → new");
    assert_eq!(browser.value("document.images.length"), 0);
    assert_eq!(browser.seen("#case-text .added .text"), [HOSTILE]);
    // Nothing but the page itself is loaded.
    assert_eq!(browser.requests, [format!("file://{}", path.display())]);
    // Even injected elements could not run or load anything.
    let refused = browser.value(
        "new Promise((done) => {
           const refused = [];
           document.addEventListener('securitypolicyviolation', (event) => {
             refused.push(event.effectiveDirective);
             if (refused.length === 2) done(refused.sort());
           });
           const script = document.createElement('script');
           script.textContent = 'document.title = \"hit\"';
           const image = document.createElement('img');
           image.src = 'http://localhost:1/';
           document.body.append(script, image);
         })",
    );
    assert_eq!(refused, json!(["img-src", "script-src-elem"]));
    assert_eq!(browser.value("document.title"), "old → new");

    // In the dark and the light scheme, every text has enough contrast.
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", features);
        let least = browser.value(
            "(() => {
               const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
               const light = (color) => numbers(color).slice(0, 3).map((c) => c / 255)
                 .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
                 .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
               const behind = (e) => {
                 for (; e; e = e.parentElement) {
                   const color = getComputedStyle(e).backgroundColor;
                   if (numbers(color)[3] !== 0) return color;
                 }
                 return 'rgb(255, 255, 255)';
               };
               const texts = document.querySelectorAll('h1, dd, .key, .name, .note, .text, .calls, nav small');
               return Math.min(...Array.from(texts, (e) => {
                 const both = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
                 return (both[0] + 0.05) / (both[1] + 0.05);
               }));
             })()",
        );
        // The contrast that accessibility guidelines require for small text.
        assert!(least.as_f64().unwrap() >= 4.5, "{scheme}: a contrast of {least}");
        backs.push(browser.value("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backs[0], backs[1]);
}

fn picture_for_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("diff")
        .args(PICTURE)
        .arg("--html")
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let mut browser = Browser::start();
    browser.open(&path);
    let picture = browser.picture();
    fs::write(root().join("docs/diff.png"), picture).unwrap();
}
