"""Frames of the event socket: recorded ones, cut ones and hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.esl.errors import EslProtocolError
from switch.esl.frames import (
    EVENT_JSON,
    EVENT_PLAIN,
    Event,
    Frame,
    FrameParser,
    format_event,
    format_frame,
    parse_event,
)

SESSION = (Path(__file__).parent / "data" / "session.raw").read_bytes()
"""Cut from a session with FreeSWITCH 1.11.2: greeting, replies, events and the goodbye."""


def test_a_recorded_session_is_taken_apart() -> None:
    frames = FrameParser().feed(SESSION)
    assert [frame.content_type for frame in frames[:5]] == [
        "auth/request",
        "command/reply",
        "command/reply",
        "api/response",
        "command/reply",
    ]
    assert frames[1].reply_text == "+OK accepted"
    assert frames[3].text.startswith("UP 0 years")
    assert frames[4].get("job-uuid") == "c7d9d834-9796-4de4-96e2-96ff9e7bf04e"
    assert frames[-1].content_type == "text/disconnect-notice"
    assert len(frames) == 20


def test_a_recorded_background_job_has_its_output_as_body() -> None:
    jobs = [parse_event(frame) for frame in FrameParser().feed(SESSION) if b"BACKGROUND_JOB" in frame.body]
    assert jobs[0].name == "BACKGROUND_JOB"
    assert jobs[0].body.startswith("FreeSWITCH Version 1.11.2")


def test_recorded_events_are_url_decoded() -> None:
    events = [parse_event(frame) for frame in FrameParser().feed(SESSION) if frame.content_type == EVENT_PLAIN]
    registered = next(event for event in events if event.subclass == "sofia::register")
    assert registered.get("contact") == '"" <sip:2001@127.0.0.1:5071>'
    assert registered.get("tenant_id") == "ten_demo"


def test_an_event_is_written_as_freeswitch_writes_it() -> None:
    # One recorded event repeats a header (profile-name); only its first value is kept.
    recorded = [
        frame
        for frame in FrameParser().feed(SESSION)
        if frame.content_type == EVENT_PLAIN and frame.body.count(b"\nprofile-name: ") < 2
    ]
    assert len(recorded) > 10
    written = [FrameParser().feed(format_event(parse_event(frame)))[0].body for frame in recorded]
    assert written == [frame.body for frame in recorded]


@given(st.lists(st.integers(min_value=1, max_value=4_000), min_size=1, max_size=60))
def test_cuts_anywhere_change_nothing(sizes: list[int]) -> None:
    parser = FrameParser()
    frames: list[Frame] = []
    position = 0
    for size in sizes:
        frames += parser.feed(SESSION[position : position + size])
        position += size
    frames += parser.feed(SESSION[position:])
    assert frames == FrameParser().feed(SESSION)
    assert parser.buffered_bytes == 0


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_any_bytes_end_in_frames_or_a_clear_error_and_bounded_memory(chunks: list[bytes]) -> None:
    parser = FrameParser(max_header_bytes=200, max_body_bytes=500)
    try:
        for chunk in chunks:
            parser.feed(chunk)
            assert parser.buffered_bytes <= 500 + 300
    except EslProtocolError as error:
        assert str(error)


@given(
    st.lists(
        st.sampled_from(
            [
                b"Content-Length: 5\n",
                b"Content-Length: -1\n",
                b"Content-Length: 99999999999999999999\n",
                b"Content-Length: 1e3\n",
                b"Content-Type: text/event-plain\n",
                b"Content-Type: text/event-json\n",
                b"\n",
                b"\r\n",
                b"Event-Name: X\n",
                b'{"Event-Name": 1}',
                b"\xff\xfe\x00",
                b"no colon here\n",
            ]
        ),
        max_size=30,
    )
)
def test_hostile_frames_never_hang(pieces: list[bytes]) -> None:
    parser = FrameParser()
    try:
        for frame in parser.feed(b"".join(pieces)):
            if frame.content_type in (EVENT_PLAIN, EVENT_JSON):
                parse_event(frame)
    except EslProtocolError as error:
        assert str(error)


@given(
    st.dictionaries(
        st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=20).filter(
            lambda name: name.lower() != "content-length"
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
        max_size=8,
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    st.booleans(),
)
def test_what_is_written_is_read_back(headers: dict[str, str], body: str, as_json: bool) -> None:
    frames = FrameParser().feed(format_event(Event(headers, body), as_json=as_json))
    event = parse_event(frames[0])
    assert {name: value for name, value in event.headers.items() if name != "Content-Length"} == headers
    assert event.body == body


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    frame = Frame({"Content-Type": EVENT_PLAIN}, b"Event-Name: X\ncaller: caf%E9 \xe9\n\n")
    assert parse_event(frame).get("caller") == "caf\ufffd \ufffd"


def test_a_plus_sign_stays_a_plus_sign() -> None:
    assert parse_event(Frame({"Content-Type": EVENT_PLAIN}, b"n: +8613800138000\n\n")).get("n") == "+8613800138000"


def test_json_events_carry_lists_and_lone_surrogates() -> None:
    frame = Frame({"Content-Type": EVENT_JSON}, b'{"Event-Name":"X","list":["a","b"],"odd":"\\ud800","_body":"text"}')
    event = parse_event(frame)
    assert event.get("list") == "ARRAY::a|:b"
    assert event.get("odd").encode() == b"?"
    assert event.body == "text"


@pytest.mark.parametrize("body", [b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_json_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(EslProtocolError):
        parse_event(Frame({"Content-Type": EVENT_JSON}, body))


def test_a_header_block_without_end_is_refused() -> None:
    parser = FrameParser(max_header_bytes=1_000)
    with pytest.raises(EslProtocolError, match="1000 bytes"):
        for _ in range(200):
            parser.feed(b"Name: value\n")


def test_a_body_too_long_is_refused_before_it_comes() -> None:
    with pytest.raises(EslProtocolError, match="allowed"):
        FrameParser(max_body_bytes=10).feed(b"Content-Length: 11\n\n")


def test_a_line_break_cannot_be_smuggled_into_a_header() -> None:
    with pytest.raises(EslProtocolError):
        format_frame({"Reply-Text": "+OK\n\nContent-Type: auth/request"})
