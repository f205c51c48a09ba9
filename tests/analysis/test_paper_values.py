"""Published values next to ours: parsing and one-line errors, matching against a plain loop, the page."""

from dataclasses import replace
from pathlib import Path

import pytest

import byheart
from byheart.analysis import labels, row_values
from byheart.analysis.paper_values import PublishedValue, read_published_values, stored_published_values
from byheart.cli.main import main
from byheart.core.errors import DataError, RequestError, SettingError, UnknownNameError
from byheart.core.types import Estimate
from byheart.report.exhibits import EXHIBIT_ORDER, ReportContent
from byheart.report.page import report
from byheart.stats.seed_pooling import pool_seed_estimates
from byheart.store.store import Store
from byheart.study.study_file import read_study
from byheart.study.study_report import report_page
from byheart.tables.published import NO_KNOWN_DIFFERENCE, published
from testing.made_up import judged, scored, study

PAPER = Path(__file__).parents[2] / "studies" / "paper"
SOURCE = '"A, 2025, arXiv 2507.00258, Table 2"'
HEAD = "dataset,method,epoch,attack,metric,value,source\n"


def stated(**reported):
    return PublishedValue(
        **{"dataset": "webnlg", "metric": "auc", "attack": "loss", "value": 0.9, "source": "A", **reported}
    )


def found(table):
    return [dict(zip(table.header, line, strict=True)) for line in table.rows]


# --- reading


def test_a_file_is_read_from_beside_the_study(tmp_path):
    (tmp_path / "a.csv").write_text(
        f"\ufeff{HEAD}webnlg,head,5,loss,auc,.9047,{SOURCE}\n\nxsum,,,,perplexity,4.5,{SOURCE}\n"
    )
    (tmp_path / "b.csv").write_text(f"value,metric,dataset,source,members\n1779,member_texts,webnlg,{SOURCE},\n")
    values = read_published_values(["a.csv", "b.csv"], tmp_path)
    source = SOURCE.strip('"')
    assert values == (
        PublishedValue(
            dataset="webnlg",
            method="head",
            epoch=5,
            attack="loss",
            metric="auc",
            value=0.9047,
            printed=".9047",
            source=source,
        ),
        PublishedValue(dataset="xsum", metric="perplexity", value=4.5, printed="4.5", source=source),
        PublishedValue(dataset="webnlg", metric="member_texts", value=1779.0, printed="1779", source=source),
    )
    assert read_published_values("a.csv", tmp_path) == values[:2]
    assert read_published_values(None, tmp_path) == ()


WRONG = [
    (f"dataset,metod,metric,value,source\nwebnlg,head,auc,0.9,{SOURCE}\n", r"column 'metod': unknown name. Did you mean 'method'"),
    ("dataset,metric,value\nwebnlg,auc,0.9\n", "has no column source"),
    (f"{HEAD}webnlg,head,5,loss,auc,87,{SOURCE}\n", r"line 2: value 87: auc .* 0 and 1\. .* 0\.87\."),
    (f"{HEAD}webnlg,head,5,loss,auc,-0.1,{SOURCE}\n", r"line 2: value -0\.1: auc"),
    (f"{HEAD}webnlg,head,5,,perplexity,0.9,{SOURCE}\n", r"value 0\.9: perplexity"),
    *((f"{HEAD}webnlg,head,5,loss,auc,{v},{SOURCE}\n", f"line 2: value {v!r}") for v in ("n/a", "nan", "inf", "0_9", "", "87 %")),
    (f"{HEAD}webnlg,head,5,loss,auc,0,87,{SOURCE}\n", "line 2: .* cells"),
    (f"{HEAD}webnlg,head,5,loss,auc\n", "line 2: .* cells"),
    (f"{HEAD}webnlg,head,5.0,loss,auc,0.9,{SOURCE}\n", r"epoch '5\.0'"),
    (f"{HEAD}webnlg,LoRA,5,loss,auc,0.9,{SOURCE}\n", "methods entry 'LoRA': unknown name. Did you mean 'lora'"),
    (f"{HEAD}webnlg,head,5,LOSS,auc,0.9,{SOURCE}\n", "attacks entry 'LOSS': unknown name"),
    (f"{HEAD}webnlg,head,5,loss,AUC,0.9,{SOURCE}\n", "metrics entry 'AUC': unknown name"),
    (f"{HEAD}WebNLG,head,5,loss,auc,0.9,{SOURCE}\n", "datasets entry 'WebNLG': unknown name"),
    (f"{HEAD}webnlg,head,5,loss,auc,0.9,\n", "line 2: source"),
    (f"{HEAD}{2 * f'webnlg,head,5,loss,auc,0.9,{SOURCE}{chr(10)}'}", r"line 3: .* published bad\.csv line 2"),
    (HEAD, "contains no value"),
    ("", "has no column dataset"),
    (f'{HEAD}webnlg,head,5,loss,auc,0.9,"A\n', "line 1: .* CSV"),
    (f"dataset,method,method_settings,attack,metric,value,source\nwebnlg,lora,target=all,loss,auc,0.9,{SOURCE}\n", "setting of methods lora 'target'"),
    (f"dataset,method,method_settings,attack,metric,value,source\nwebnlg,lora,attention,loss,auc,0.9,{SOURCE}\n", "methods settings 'attention': .* name=value"),
    (f"dataset,method,method_settings,attack,metric,value,source\nwebnlg,,targets=all,loss,auc,0.9,{SOURCE}\n", "methods settings 'targets=all'"),
    (f"dataset,split,attack,metric,value,source\nwebnlg,test,loss,auc,0.9,{SOURCE}\n", "split 'test': unknown name"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), WRONG, ids=range(len(WRONG)))
def test_invalid_values_are_refused_with_file_and_line(tmp_path, content, says):
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(RequestError, match=says) as reported:
        read_published_values("bad.csv", tmp_path)
    assert str(reported.value).startswith("published bad.csv")
    assert "\n" not in str(reported.value)


@pytest.mark.parametrize(
    ("written", "kind"), [("none.csv", DataError), (3, SettingError), ([["a"]], SettingError), ("/", DataError)]
)
def test_a_path_that_is_not_a_file_is_refused(tmp_path, written, kind):
    with pytest.raises(kind, match="published"):
        read_published_values(written, tmp_path)


def test_plan_refuses_a_bad_file_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.csv").write_text(f"{HEAD}webnlg,head,5,loss,auc,87,{SOURCE}\n")
    (tmp_path / "study.yaml").write_text("published: bad.csv\n")
    monkeypatch.setattr("sys.argv", ["byheart", "plan", str(tmp_path / "study.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    reported = capsys.readouterr()
    assert ended.value.code == 2
    assert reported.err.count("\n") == 1
    assert "study.yaml: published bad.csv line 2: value 87" in reported.err


# --- contents of the papers' files


@pytest.mark.parametrize(("table", "values"), [(1, 9), (2, 75), (3, 36), (4, 24)])
def test_each_value_of_the_papers_tables_is_of_a_cell_of_the_study(table, values):
    complete = read_study(PAPER / f"table_{table}.yaml")
    assert len(complete.published) == values
    for value in complete.published:
        assert value.source == f"Hou, Wu, Luo, Zeng, 2025, arXiv 2507.00258, Table {table}"
        cells = [
            c
            for c in complete.cells
            if c.dataset.name == value.dataset
            and value.base in ("", c.base)
            and value.method in ("", c.method.name)
            and value.method_settings in ("", f"targets={c.method.settings.get('targets')}")
        ]
        assert cells, value
        assert value.attack in {"", *(a.name for a in complete.attacks)}
        assert value.epoch in {None, *(c.training.epochs for c in cells)}
        assert value.train_texts is None or {c.data.train for c in cells} <= {None, value.train_texts}
        assert value.members is None or {c.data.members for c in cells} == {value.members}
        assert value.split in {"", *(c.data.split for c in cells)}


def test_some_values_equal_those_printed_in_the_paper():
    stored = {p.identity[:-2]: p.value for n in (2, 3, 4) for p in read_study(PAPER / f"table_{n}.yaml").published}
    llama = "meta-llama/Llama-2-7b-hf"
    assert stored[llama, "webnlg", "head", "", "loss", "", "auc", ""] == 0.9047
    assert stored[llama, "xsum", "p_tuning", "", "", "", "perplexity", ""] == 4.1559
    assert stored[llama, "wikitext", "lora", "", "zlib_ratio", "", "auc", ""] == 0.8405
    assert stored["openai-community/gpt2-xl", "wikitext", "full", "", "loss", "", "auc", ""] == 0.9897
    assert stored[llama, "webnlg", "lora", "targets=projection", "min_k", "", "auc", ""] == 0.6061


# --- the table


def test_lines_contain_our_value_the_published_value_and_the_difference():
    rows = study()
    papers = [stated(method=m, dataset=d, attack=a, epoch=e, value=0.6)
              for d in ("webnlg", "wikitext") for m in ("full", "prompt") for a in ("loss", "min_k") for e in (1, 3)]  # fmt: skip
    lines = found(published(rows, papers))
    assert len(lines) == len(papers)
    for line, paper in zip(lines, papers, strict=True):
        (row,) = [
            r
            for r in rows
            if (r.dataset, r.method, r.attack, r.epoch, r.metric)
            == (paper.dataset, paper.method, paper.attack, paper.epoch, "auc")
        ]
        assert (line["data"], line["method"], line["attack"], line["epoch"]) == (
            labels.dataset_name(row.dataset), labels.method_name(row.method), labels.attack_name(row.attack), str(row.epoch)
        )  # fmt: skip
        assert line["this study"] == f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
        assert line["published"] == "0.6"
        assert line["difference"] == f"{row.value - 0.6:.3f}"
        assert line["published value is"] == ("below" if row.low > 0.6 else "above" if row.high < 0.6 else "inside")
    assert {line["published value is"] for line in lines} == {"below", "above", "inside"}


def test_a_published_value_is_compared_with_the_interval_over_texts_and_seeds():
    rows = study(seeds=(0, 1, 2), methods=("full",), datasets=("webnlg",))
    ours = [r for r in rows if (r.metric, r.attack, r.epoch) == ("auc", "loss", 3)]
    pooled = pool_seed_estimates([Estimate(r.value, r.low, r.high) for r in ours], within=(0, 1))
    (line,) = found(published(rows, [stated(method="full", epoch=3, value=max(r.value for r in ours) + 0.01)]))
    assert line["this study"] == f"{pooled.value:.3f} [{pooled.low:.3f}, {pooled.high:.3f}]"
    assert line["published value is"] == "inside", "above every seed, within the error of the texts"
    assert (
        "95 % interval for other texts and other training seeds"
        in published(rows, [stated(method="full", epoch=3)]).note
    )


def test_an_empty_epoch_is_the_last_and_an_empty_method_is_each():
    lines = found(published(study(methods=("full", "lora")), [stated()]))
    assert [(line["method"], line["epoch"]) for line in lines] == [("full", "3"), ("LoRA", "3")]


def test_a_setting_that_rows_leave_out_because_it_is_the_default_is_still_that_setting():
    rows = study(methods=("lora",), settings=("", "targets=attention, rank=4"), datasets=("webnlg",))
    lines = found(
        published(
            rows, [stated(method="lora", method_settings=f"targets={t}") for t in ("all", "attention", "projection")]
        )
    )
    assert [line["method"] for line in lines] == ["LoRA", "LoRA targets=attention, rank=4"]


def test_data_counts_are_listed_once_and_compared():
    papers = [stated(attack="", metric=m, value=v) for m, v in (("train_texts", 5000.0), ("member_texts", 1779.0))]
    lines = found(published(study(datasets=("webnlg",)), papers))
    assert [(x["method"], x["this study"], x["published"], x["published value is"]) for x in lines] == [
        (row_values.MISSING, "5,000", "5,000", "equal"), (row_values.MISSING, "200", "1,779", "apart")
    ]  # fmt: skip


def test_a_comparison_with_another_base_is_noted():
    paper = stated(
        base="meta-llama/Llama-2-7b-hf",
        method="full",
        epoch=3,
        train_texts=35426,
        members=1779,
        nonmembers=200,
        split="published",
    )
    table = published(study(datasets=("webnlg",)), [paper])
    assert len(table.rows) == 1
    assert table.note.endswith(
        "Known differences: WebNLG: base model gpt2 here, Llama-2-7b-hf in the paper, texts trained on 5,000 here, 35,426 in "
        "the paper, members 200 here, 1,779 in the paper, split group here, published in the paper."
    )
    alike = stated(
        base="somewhere/gpt2", method="full", epoch=3, train_texts=5000, members=200, nonmembers=200, split="group"
    )
    assert NO_KNOWN_DIFFERENCE in published(study(datasets=("webnlg",)), [alike]).note


def test_bases_are_matched_by_name_and_others_are_reported():
    rows = study(bases=("/here/one.gguf", "hub/two"), datasets=("webnlg",), methods=("full",))
    papers = [stated(base=f"x/{b}", method="full", value=v) for b, v in (("one", 0.7), ("two", 0.8), ("three", 0.9))]
    table = published(rows, papers)
    assert [(line["model"], line["published"]) for line in found(table)] == [("one", "0.7"), ("two", "0.8")]
    assert "missing here: base model three (1 value)" in table.note


def test_unmatched_values_are_counted_by_reason():
    papers = [
        stated(method="full"),
        stated(method="dp_lora"),
        stated(method="dp_lora", attack="min_k"),
        stated(dataset="records"),
        stated(method="full", epoch=9),
        stated(method="full", attack="rmia"),
        stated(method="full", metric="group_auc"),
        stated(method="full", metric="tpr_at_fpr", metric_settings="fpr=0.1"),
    ]
    table = published(study(datasets=("webnlg",)), papers)
    assert len(table.rows) == 1
    reported = table.note.partition("missing here: ")[2]
    assert reported == (
        "method DP LoRA (2 values), data set records (1 value), epoch 9 (1 value), attack RMIA (1 value), "
        "measure ROC AUC over groups (1 value), TPR at low FPR fpr=0.1 (1 value)."
    )
    nothing = published(study(datasets=("xsum",)), papers)
    assert nothing.rows == ()
    assert "data set WebNLG (7 values)" in nothing.note


def test_without_values_there_is_no_table():
    with pytest.raises(DataError, match=r"published: FILE\.csv"):
        published(study(), ())


def test_the_page_shows_them_after_the_methods_or_reports_that_none_matches():
    rows = study(datasets=("webnlg",), methods=("full", "prompt"))
    assert EXHIBIT_ORDER.index("published") == EXHIBIT_ORDER.index("methods") + 1
    for papers, reported in (
        ((stated(method="full", value=0.8125),), "0.8125"),
        ((stated(dataset="records"),), "data set records"),
    ):
        html = report(ReportContent(rows, scored(rows), judged(), papers=papers), title="x", provenance={})
        section = html.partition("Published values beside this study</h2>")[2].partition("</section>")[0]
        assert reported in section
    assert "Published values beside this study" not in report(
        ReportContent(rows, scored(rows), judged()), title="x", provenance={}
    )


# --- the complete path


def test_published_values_of_a_study_are_stored_and_shown(tiny_folder, tmp_path):
    (tmp_path / "paper.csv").write_text(
        f"dataset,method,epoch,attack,metric,value,members,split,source\nrecords,head,1,loss,auc,0.4321,99,published,{SOURCE}\n"
        f"records,full,1,loss,auc,0.5,,,{SOURCE}\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        f"models: {tiny_folder('llama')}\n"
        "datasets: [{records: {count: 60}}]\n"
        "data: {train: 12, members: 10, nonmembers: 12, validation: 6, max_tokens: 60}\n"
        "methods: [head]\ntraining: {epochs: 1, batch_size: 4}\nattacks: [loss]\nmetrics: [auc, perplexity]\n"
        "published: paper.csv\n"
    )
    wanted = read_study(tmp_path / "tiny.yaml")
    assert [p.value for p in wanted.published] == [0.4321, 0.5]
    results = byheart.run(wanted, store=tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert stored_published_values(store, "tiny") == wanted.published
    (row,) = [r for r in results.rows if (r.attack, r.metric, r.epoch) == ("loss", "auc", 1)]
    page = report_page(store, "tiny", tmp_path / "page.html").read_text()
    section = page.partition("Published values beside this study</h2>")[2].partition("</section>")[0]
    assert f"{row.value:.3f}" in section
    assert "0.4321" in section
    assert "members 10 here, 99 in the paper, split group here, published in the paper" in section
    assert "method full (1 value)" in section


def test_an_unknown_name_keeps_its_kind(tmp_path):
    (tmp_path / "bad.csv").write_text(f"{HEAD}webnlg,LoRA,5,loss,auc,0.9,{SOURCE}\n")
    with pytest.raises(UnknownNameError):
        read_published_values("bad.csv", tmp_path)


def test_markup_in_names_is_escaped():
    rows = [replace(r, method="<b>x</b>") for r in study(datasets=("webnlg",), methods=("full",))]
    html = report(
        ReportContent(rows, scored(rows), judged(), papers=(stated(source="<i>A</i>"),)), title="x", provenance={}
    )
    assert "<i>A</i>" not in html
    assert "&lt;i&gt;A" in html
