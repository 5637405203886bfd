import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from apps.classification.report import write_classification_report
from apps.engine.core.files import write_bytes
from apps.engine.evaluation.classification import Predictions, reliability
from apps.engine.reporting import html, plots
from apps.engine.reporting.labels import label

HOSTILE = (
    "<script>alert(1)</script>", "$\\frac{", 'a" onerror="x', "line\nbreak \udcff 犬", "&amp;",
    "poodle", "pug",
)
HISTORY = [
    {"epoch": 1, "train/loss": 2.0, "val/loss": 1.8, "val/top1": 0.4, "lr": 0.1, "seconds": 3.0},
    {"epoch": 2, "train/loss": 1.0, "train/top1": 0.7, "val/loss": float("nan"), "val/top1": 0.8},
]
VOID = {"meta", "img", "br", "source"}


class Page(HTMLParser):
    """Keeps elements and words, and fails on a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def hostile_predictions(n=70):
    rng = np.random.default_rng(0)
    targets = np.arange(n) % 7
    logits = rng.normal(0, 1, (n, 7)).astype(np.float32)
    logits[np.arange(n), targets] += 1.5
    paths = tuple(f"/photos/<img src=x onerror=alert({i})>.jpg" for i in range(n))
    return Predictions(logits, targets, paths, HOSTILE, 0.8)


def thumbnail(path):
    if "alert(3" in path:
        raise ValueError("not a photo")
    return Image.new("RGBA", (50, 30), (10, 200, 30, 255))


def write(folder, predictions=None, **given):
    arguments = {
        "title": "Dogs <of> 1 & 2", "predictions": predictions or hostile_predictions(), "history": HISTORY,
        "facts": {"weights": "<b>x</b>", "lr": 0.001}, "thumbnail": thumbnail,
        "cams": [(Image.new("RGB", (64, 64)), "pug <i>90 %</i>")],
    }
    return write_classification_report(folder, **{**arguments, **given})


def read(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of classes, paths, settings and captions that would all like to be markup."""
    folder = tmp_path_factory.mktemp("hostile")
    write(folder)
    return read(folder)


def test_the_report_is_one_page_and_its_plots_and_leaves_no_temporary_file(tmp_path):
    files = write(tmp_path / "new" / "run")
    assert sorted(f.name for f in files) == ["confusion.png", "curves.png", "reliability.png", "report.html"]
    assert sorted(tmp_path.glob("new/run/*")) == sorted(files)
    assert files[0].stat().st_mode & 0o777 == 0o644
    for file in files[1:]:
        with Image.open(file) as image:
            image.load()
            assert image.format == "PNG"


def test_names_and_paths_stay_words_and_never_become_markup(page):
    assert not page.all("script")
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    words = "".join(page.words)
    for name in (*HOSTILE[:3], "&amp;", "Dogs <of> 1 & 2", "<b>x</b>", "<i>90 %</i>"):
        assert name in words


def test_the_page_needs_no_network_and_no_script(page):
    addresses = [a.get("src") or a["srcset"] for a in page.all("img") + page.all("source")]
    assert len(addresses) > 10
    assert all(re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+$", address) for address in addresses)
    assert all(a["href"].startswith("#part-") for a in page.all("a"))
    assert not page.all("link")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "url(" not in "".join(page.words)
    assert "@import" not in "".join(page.words)


def test_a_reader_who_does_not_see_gets_language_names_headers_and_alternatives(page):
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 3
    identifiers = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {a["href"][1:] for a in page.all("a")} <= identifiers
    assert "prefers-color-scheme: dark" in "".join(page.words)
    assert "width=device-width" in page.all("meta")[2]["content"]


def test_the_summary_states_the_result_with_interval_and_number(tmp_path):
    logits = np.eye(7, dtype=np.float32)[np.r_[np.arange(7), [1, 0, 0]]] * 9
    targets = np.r_[np.arange(7), [1, 1, 2]]
    write(tmp_path, Predictions(logits, targets, ("x",) * 10, HOSTILE), history=[])
    words = "".join(read(tmp_path).words).replace("\u00a0", " ")
    assert "Right on 8 of 10 photos of 7 classes: top-1 80.0 % (95 % interval 49.0 to 94.3 %)" in words
    assert "among the first five" in words
    assert "Of 2 wrong answers" in words


def test_classes_are_listed_hardest_first_and_those_without_photos_last(tmp_path):
    logits = np.eye(7, dtype=np.float32)[[5, 5, 6, 6]]
    write(tmp_path, Predictions(logits, np.array([5, 5, 5, 6]), tuple("abcd"), HOSTILE), history=[])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    number = '<td class="number">([^<]*)</td>'
    rows = re.findall(f'<tr><th scope="row">([^<]*)</th>{number}{number}', text)
    assert [row[0] for row in rows[:2]] == ["poodle", "pug"]
    assert rows[0][1:] == ("3", "66.7\u00a0%")
    assert all(row[1:] == ("0", "\u2013") for row in rows[2:])


def test_the_worst_mistake_comes_first_and_says_what_it_said_and_what_it_was(tmp_path):
    logits = np.zeros((3, 7), np.float32)
    logits[0, 5], logits[1, 6], logits[2, 5] = 2, 6, 9
    answers = Predictions(logits, np.array([6, 5, 5]), ("mild.jpg", "worst.jpg", "right.jpg"), HOSTILE)
    write(tmp_path, answers, history=[])
    words = "".join(read(tmp_path).words)
    worst = words[words.index("Of 2 wrong answers"):]
    assert worst.index("worst.jpg") < worst.index("mild.jpg")
    assert "right.jpg" not in worst
    assert re.search(r"Said: pug 9\d\.\d\s%Was: poodle", worst)


def test_a_perfect_network_without_epochs_settings_or_pictures_has_a_report(tmp_path):
    perfect = Predictions(np.eye(3, dtype=np.float32), np.arange(3), tuple("abc"), ("x", "y", "z"))
    files = write(tmp_path, perfect, history=[], facts={}, cams=[])
    assert sorted(f.name for f in files) == ["confusion.png", "reliability.png", "report.html"]
    words = "".join(read(tmp_path).words)
    assert "no mistake to show" in words
    assert "No two classes were confused" in words
    assert "Learning curves" not in words
    assert "Top-5" not in words


def test_a_photo_that_is_gone_becomes_a_grey_tile(tmp_path):
    def gone(path):
        raise FileNotFoundError(path)

    write(tmp_path, thumbnail=gone, history=[])
    assert len(read(tmp_path).all("img")) > 10
    assert html.thumbnail_or_grey(gone, "x").getpixel((0, 0)) == (150, 150, 150)


def test_large_photos_go_in_as_small_jpegs(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 900, 3), dtype=np.uint8))
    with Image.open(io.BytesIO(html.jpeg(noise))) as small:
        assert (small.format, min(small.size)) == ("JPEG", 128)
    write(tmp_path, thumbnail=lambda _: noise, history=[])
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_a_failed_write_leaves_the_old_file_and_no_remains(tmp_path):
    old = tmp_path / "report.html"
    old.write_text("old")
    with pytest.raises(TypeError):
        write_bytes(old, "not bytes")
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_percentages_of_nothing_are_a_dash():
    assert html.percent(None) == "\u2013"
    assert html.percent(0.9433) == "94.3\u00a0%"
    assert html.percent(0.5, 1.0) == "50.0 to 100.0\u00a0%"


def test_the_curves_leave_out_what_an_epoch_does_not_know():
    loss, top1 = plots.curves(HISTORY).axes
    assert [line.get_xdata().tolist() for line in loss.lines] == [[1, 2], [1]]
    assert [line.get_ydata().tolist() for line in top1.lines] == [[0.7], [0.4, 0.8]]


@pytest.mark.parametrize("k", [1, 15, 120])
def test_the_confusion_matrix_shows_shares_of_rows_for_few_and_many_classes(k):
    matrix = np.diag(np.arange(k)) + np.eye(k, k, 1, dtype=np.int64)
    figure = plots.confusion_figure(matrix, [f"class {i}" for i in range(k)], plots.DARK)
    shares = figure.axes[0].images[0].get_array()
    assert np.allclose(shares.sum(axis=1), matrix.sum(axis=1) > 0)
    assert len(figure.axes[0].get_yticklabels()) == k
    with Image.open(io.BytesIO(plots.png(figure, dpi=40))) as image:
        assert min(image.size) > 100


def test_the_reliability_plot_draws_only_bins_with_photos():
    bins = reliability(np.array([0.5, 0.95, 0.97]), np.array([True, True, False]))
    upper = plots.reliability_figure(bins).axes[0]
    assert upper.lines[-1].get_xdata() == pytest.approx([0.5, 0.96])
    assert upper.lines[-1].get_ydata() == pytest.approx([1.0, 0.5])


def test_titles_and_legends_take_names_that_look_like_mathematics():
    figure = plots.blank(4, 3, plots.DARK)
    axes = figure.subplots()
    axes.plot([0, 1], label="$\\frac{")
    plots.dress(axes, plots.DARK, title="a $\\frac{$", legend="best")
    with Image.open(io.BytesIO(plots.png(figure, dpi=40))) as image:
        assert image.size == (160, 120)
    assert [words.get_text() for words in axes.get_legend().get_texts()] == ["$\\frac{"]


def test_labels_are_printable_and_short():
    assert label("a\nb\udcff") == "a\ufffdb\ufffd"
    assert label("x" * 99) == "x" * 27 + "\u2026"
