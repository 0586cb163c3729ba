import json
from dataclasses import replace

import pytest

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.text.problems import batch_for, content_hash, load_problems
from rlvr_placebo.text.templates import SUMMARIES, TEMPLATES, get_template, render
from rlvr_placebo.text.tokenizer import Tokenizer


def test_prompt_tokens_are_exact(shipped):
    problem = load_problems("pocket-500")[0]
    tokens = render(problem, TEMPLATES["plain"], shipped.tokenizer)
    assert shipped.tokenizer.decode(tokens) == problem.question + "\n"
    assert list(tokens) == shipped.tokenizer.encode(problem.question + "\n")
    boxed = render(problem, TEMPLATES["boxed"], shipped.tokenizer)
    assert shipped.tokenizer.decode(boxed).endswith("\\boxed{}.\n")


def test_template_names_are_checked():
    with pytest.raises(PlaceboError, match="did you mean 'plain'"):
        get_template("plane")


def test_tokenizer_gives_back_any_text(shipped):
    for text in ("", " a  b\n\n", "π≈3", "{x}\\boxed{ 7 }", "日本", "\x00\t", "12345"):
        assert shipped.tokenizer.decode(shipped.tokenizer.encode(text)) == text


def test_a_beginning_token_stands_once(shipped, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        source = next(f for f in shipped.tokenizer.files if f.name == name)
        (tmp_path / name).write_bytes(source.read_bytes())
    declared = json.loads((tmp_path / "tokenizer_config.json").read_text())
    declared |= {"bos_token": "<|endoftext|>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(declared))
    tokenizer = Tokenizer(tmp_path, [0])
    tokens = render(load_problems("pocket-500")[0], TEMPLATES["plain"], tokenizer)
    assert tokens[0] == 0
    assert tokens.count(0) == 1


@pytest.mark.parametrize("asked", [None, False])
def test_a_beginning_token_that_the_tokenizer_itself_puts_first(asked, shipped, tmp_path):
    """As Llama 3 does; an explicit no is heeded."""
    for path in shipped.tokenizer.files:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    document["post_processor"] = {
        "type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0],
                                             "tokens": ["<|endoftext|>"]}},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    if asked is not None:
        declared = json.loads((tmp_path / "tokenizer_config.json").read_text())
        declared |= {"bos_token": "<|endoftext|>", "add_bos_token": asked}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(declared))
    tokenizer = Tokenizer(tmp_path, [0])
    ids = tokenizer.prompt("Ada has 12 pens.")
    assert tokenizer.bos == (0 if asked is None else None)
    assert ids == (*((0,) if asked is None else ()), *tokenizer.encode("Ada has 12 pens."))


def test_a_broken_tokenizer_is_named(tmp_path, shipped):
    with pytest.raises(PlaceboError, match=r"has no tokenizer\.json"):
        Tokenizer(tmp_path, [0])
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(PlaceboError, match="cannot be read"):
        Tokenizer(tmp_path, [0])
    good = next(f for f in shipped.tokenizer.files if f.name == "tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(good.read_bytes())
    for content in ('{"bos_token"', "[]"):
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(PlaceboError, match=r"tokenizer_config\.json: not"):
            Tokenizer(tmp_path, [0])


def test_jsonl_problems(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [
        {"problem": "1+1?", "answer": 2, "cluster": "sums"},
        {"question": "Half of 1?", "answer": ["1/2", "0.5"], "difficulty": 3},
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    one, two = load_problems(str(path))
    assert (one.question, one.golds, one.cluster, one.source) == ("1+1?", ("2",), "sums", "mine")
    assert (two.golds, two.cluster, two.difficulty) == (("1/2", "0.5"), two.id, 3.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no problems"),
        ("{", "mine.jsonl:1: not JSON"),
        ("[]", "must be a JSON object"),
        ('{"problem": "x"}', "none of the fields answer"),
        ('{"problem": "x", "answer": 1}\n' * 2, "problem 2 repeats problem 1"),
        ('{"problem": "", "answer": 1}', "must be a text, and not empty"),
        ('{"problem": {"a": 1}, "answer": 1}', "must be a text"),
        ('{"problem": "x", "answer": ""}', "an answer must be"),
        ('{"problem": "x", "answer": [null]}', "an answer must be"),
        ('{"problem": "x", "answer": []}', "list of answers is empty"),
        ('{"problem": "x", "answer": NaN}', "an answer must be"),
        ('{"problem": "x", "answer": "so\\nit is 3"}', "several lines"),
        ('{"problem": "x", "answer": 1, "difficulty": 1' + "0" * 400 + "}", "must be a number"),
        ('{"problem": "\\ud800", "answer": 1}', "not JSON"),
        ('{"problem": "x", "answer": ' + "[" * 100000, "not JSON"),
    ],
)
def test_wrong_files_are_named(tmp_path, content, message):
    path = tmp_path / "mine.jsonl"
    path.write_text(content)
    with pytest.raises(PlaceboError, match=message):
        load_problems(str(path))


def test_unusual_line_separators_belong_to_the_text(tmp_path):
    path = tmp_path / "mine.jsonl"
    question = "a\u2028b\u0085c"
    row = json.dumps({"problem": question, "answer": "1"}, ensure_ascii=False)
    path.write_text(row + "\n\n", encoding="utf-8")
    (problem,) = load_problems(str(path))
    assert problem.question == question


def test_gsm8k_answers_and_byte_order_marks(tmp_path):
    path = tmp_path / "mine.jsonl"
    row = {"question": "12+5?", "answer": "12+5=<<12+5=17>>17\n#### 17", "cluster": None}
    path.write_text("\ufeff" + json.dumps(row) + "\r\n", encoding="utf-8")
    (problem,) = load_problems(str(path))
    assert problem.golds == ("17",)
    assert problem.cluster == problem.id


def test_missing_sets_are_named(tmp_path):
    with pytest.raises(PlaceboError, match="cannot be read"):
        load_problems(str(tmp_path / "none.jsonl"))
    with pytest.raises(PlaceboError, match="neither a problem set"):
        load_problems("math")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlaceboError, match="not UTF-8"):
        load_problems(str(tmp_path / "binary.jsonl"))


def test_order_is_a_pass_over_the_pool_and_knows_only_the_seed():
    pool = load_problems("pocket-train@10")
    ids = [p.id for step in (1, 2, 3, 4, 5) for p in batch_for(pool, 3, step, 4)]
    assert sorted(ids[:10]) == sorted(ids[10:]) == sorted(p.id for p in pool)
    assert ids[:10] != ids[10:]
    assert [p.id for p in batch_for(pool, 3, 3, 4)] == ids[8:12]
    assert [p.id for p in batch_for(pool, 4, 1, 4)] != ids[:4]


def test_content_hash_sees_every_change():
    pool = load_problems("pocket-train@10")
    assert content_hash(pool) == content_hash(list(pool))
    assert content_hash(pool) != content_hash(pool[::-1])
    assert content_hash(pool) != content_hash(pool[:-1])
    assert content_hash(pool) != content_hash([replace(p, cluster="other") for p in pool])


def with_files(tmp_path, shipped, **declared):
    """The families' tokenizer with other declarations."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        source = next(f for f in shipped.tokenizer.files if f.name == name)
        (tmp_path / name).write_bytes(source.read_bytes())
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | declared))
    return Tokenizer(tmp_path, [0])


CHAT = (
    "{{ bos_token }}{% for m in messages %}\n{% generation %}<{{ m.role }}>{{ m.content | trim }}"
    "{% endgeneration %}\n{% endfor %}\n"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("place", ["declared", "named", "file"])
def test_chat_prompts_are_those_of_transformers(place, tmp_path, shipped):
    """Token for token, and the beginning token, which the template writes itself, stands once."""
    from transformers import PreTrainedTokenizerFast

    declared = {"bos_token": "<|endoftext|>", "add_bos_token": True}
    if place == "declared":
        declared["chat_template"] = CHAT
    if place == "named":
        declared["chat_template"] = [{"name": "default", "template": CHAT}]
    if place == "file":
        (tmp_path / "chat_template.jinja").write_text(CHAT)
    tokenizer = with_files(tmp_path, shipped, **declared)
    problem = replace(
        load_problems("pocket-500")[0],
        messages=(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": " 1+1? "},
        ),
    )
    ours = render(problem, TEMPLATES["chat"], tokenizer)
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"),
                                   bos_token="<|endoftext|>", chat_template=CHAT)  # fmt: skip
    theirs = fast.apply_chat_template(list(problem.messages), add_generation_prompt=True)
    assert list(ours) == theirs["input_ids"]
    assert ours.count(0) == 1
    assert ours[0] == 0


def test_a_chat_template_that_is_missing_or_fails_is_named(tmp_path, shipped):
    problem = load_problems("pocket-500")[0]
    with pytest.raises(PlaceboError, match="has no chat template; choose another template"):
        render(problem, TEMPLATES["chat"], shipped.tokenizer)
    refusing = "{{ raise_exception('no system turn') }}"
    tokenizer = with_files(tmp_path, shipped, chat_template=refusing)
    with pytest.raises(PlaceboError, match=r"chat template fails \(no system turn\)"):
        render(problem, TEMPLATES["chat"], tokenizer)


def test_every_template_has_the_question_once_and_a_summary(shipped):
    assert TEMPLATES.keys() == SUMMARIES.keys()
    for template in TEMPLATES.values():
        assert template.text.count("{question}") == 1
        assert template.ask("{x} \\frac{1}{2}").count("{x} \\frac{1}{2}") == 1
    assert len({t.id for t in TEMPLATES.values()}) == len(TEMPLATES)
    text = shipped.tokenizer.decode(
        render(load_problems("pocket-500")[0], TEMPLATES["think"], shipped.tokenizer)
    )
    assert text.endswith("Solution: <think>")


def test_templates_from_files(tmp_path):
    verbatim = tmp_path / "paper.txt"
    verbatim.write_text("Solve {question} {braces} \\n {}\n")
    template = get_template(str(verbatim))
    assert template.ask("1+1") == "Solve 1+1 {braces} \\n {}\n"
    toml = tmp_path / "r1.toml"
    toml.write_text('text = "Q: {question} A:"\nstops = ["</answer>", "\\n\\n"]\nchat = false\n')
    template = get_template(str(toml))
    assert (template.ask("7"), template.stops) == ("Q: 7 A:", ("</answer>", "\n\n"))
    assert template.id != replace(template, stops=()).id


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "no place for it", "text must be there, with {question} in it"),
        ("a.toml", "text = 1", "text must be there"),
        ("a.toml", 'text = "{question}"\nstops = "x"', "stops must be a list of texts"),
        ("a.toml", 'text = "{question}"\nstops = [""]', "stops must be a list of texts"),
        ("a.toml", 'text = "{question}"\nchat = 1', "chat must be true or false"),
        ("a.toml", 'text = "{question}"\nstop = []', "unknown entry 'stop'"),
        ("a.toml", "text = ", "cannot be read"),
        ("b.txt", None, "cannot be read"),
    ],
)
def test_mistakes_in_template_files(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(PlaceboError, match=message):
        get_template(str(tmp_path / name))
