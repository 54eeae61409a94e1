"""Teacher behind any server that speaks the OpenAI chat protocol. One attempt per call; images travel as data URIs.

What the server answers is sorted into: an answer, a failure of this request (refused, truncated, empty, rejected), a
reason to send again later, and a reason to stop asking at all. The official `openai` client does the talking, with its
own retries off: limits, retries and the account are `pipelines.rationales.teachers.dispatcher`. The key never leaves
this object.
"""

from __future__ import annotations

import base64
import email.utils
import os
import time
from typing import Any

from pydantic import SecretStr

from pipelines.config.rationales import ApiTeacherConfig
from pipelines.rationales.teachers.base import Answer, RetryLater, StopAsking, TeacherError, TeacherRequest, Usage
from pipelines.rationales.teachers.prompt_files import prompt
from pipelines.rationales.teachers.structured import BLIND_SCHEMA, SCHEMA
from pipelines.runtime.errors import UserError

_LONGEST_REASON = 300
# Worth sending again: time-outs, conflicts, locks and whatever the server blames on itself.
_AGAIN = {408, 409, 423, 425}
_STOP = {401: "the key was refused", 403: "the key may not use this model", 404: "no such model or address"}


def read_key(cfg: ApiTeacherConfig) -> SecretStr:
    """The key from the environment variable that the configuration names.

    Raises:
        UserError: the variable is not set, or cannot be sent in a header.
    """
    value = os.environ.get(cfg.api_key_env, "").strip()
    if not value:
        raise UserError(f"rationales.api: set the environment variable {cfg.api_key_env} to the key of {cfg.base_url}")
    if not (value.isascii() and value.isprintable()):
        raise UserError(
            f"rationales.api: {cfg.api_key_env} holds a character that no key has (a curly quote, a break?)"
        )
    return SecretStr(value)


class OpenAITeacher:
    """See the module.

    Args:
        cfg: server, model and parameters.
        key: the secret; kept out of every text that this class makes.
    """

    name = "openai_api"
    version = 1
    wants_frames = True

    def __init__(self, cfg: ApiTeacherConfig, key: SecretStr) -> None:
        import openai

        self.cfg, self._key, self._openai = cfg, key, openai
        # Half the processor time of the client's own transport; 1,000 connections by default, enough for as many
        # requests in flight.
        transport = openai.DefaultAioHttpClient(timeout=cfg.timeout_s)
        self._client = openai.AsyncOpenAI(
            base_url=cfg.base_url,
            api_key=key.get_secret_value(),
            max_retries=0,
            timeout=cfg.timeout_s,
            http_client=transport,
        )
        self._structured = cfg.structured != "none"

    async def ask(self, request: TeacherRequest) -> Answer:
        """See `Teacher.ask`."""
        structured = self._structured
        try:
            reply = await self._client.chat.completions.create(**chat_body(self.cfg, request, structured))
        except self._openai.APIStatusError as error:
            if structured and self.cfg.structured == "auto" and _about_schema(error):
                # This server knows no schemas: say it in words from now on.
                self._structured = False
                return await self.ask(request)
            raise self._sorted(error) from None
        except self._openai.APIConnectionError as error:
            # Time-outs are a subclass.
            raise RetryLater(self._clean(f"{type(error).__name__}: {error.__cause__ or error}")) from None
        except (self._openai.APIResponseValidationError, ValueError) as error:
            raise RetryLater(self._clean(f"an answer that is no JSON: {error}")) from None
        if not hasattr(reply, "model_dump"):
            # The client hands on a page of HTML as text.
            raise RetryLater(self._clean(f"an answer that is no JSON: {reply}"))
        try:
            return completion_answer(reply.model_dump(warnings=False))
        except TeacherError as error:
            raise TeacherError(error.kind, self._clean(error.reason), error.usage, error.raw) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _sorted(self, error: Any) -> Exception:
        """Status error -> what to do about it."""
        status, code = error.status_code, str(getattr(error, "code", "") or "")
        text = self._clean(f"HTTP {status}: {error.message}")
        if status in _STOP:
            return StopAsking(f"{_STOP[status]} ({text})")
        if status == 429 and code == "insufficient_quota":
            return StopAsking(f"no credit left ({text})")
        if status == 429 or status in _AGAIN or status >= 500:
            return RetryLater(text, retry_after(error.response.headers), limited=status == 429)
        return TeacherError("rejected", text)

    def _clean(self, text: str) -> str:
        """One line without the key."""
        return " ".join(text.replace(self._key.get_secret_value(), "***").split())[:_LONGEST_REASON]


def completion_answer(reply: dict[str, Any]) -> Answer:
    """A chat completion as JSON -> its answer.

    Raises:
        TeacherError: refused, truncated, empty, or not of the protocol's form.
    """
    usage = _usage(reply.get("usage"))
    choices = reply.get("choices") or []
    if not isinstance(choices, list) or (choices and not isinstance(choices[0], dict)):
        raise TeacherError("malformed", "an answer whose choices are no list of objects", usage)
    message = (choices[0].get("message") or {}) if choices else {}
    if not isinstance(message, dict):
        raise TeacherError("malformed", f"a message that is {type(message).__name__}, not an object", usage)
    if not message:
        raise TeacherError("empty", "no choice in the answer", usage)
    finish, text = choices[0].get("finish_reason"), str(message.get("content") or "").strip()
    if message.get("refusal") or finish == "content_filter":
        raise TeacherError("refused", str(message.get("refusal") or "content filter")[:_LONGEST_REASON], usage, text)
    if finish == "length":
        raise TeacherError("truncated", f"cut off after {usage.output} tokens; raise max_tokens", usage, text)
    if not text:
        raise TeacherError("empty", "an answer without text", usage)
    return Answer(raw=text, model=str(reply.get("model") or ""), usage=usage)


def chat_body(cfg: ApiTeacherConfig, request: TeacherRequest, structured: bool) -> dict[str, Any]:
    """The request as the chat protocol has it; also what a batch file holds."""
    texts = prompt(request, structured)
    content: list[dict[str, Any]] = [{"type": "text", "text": texts.user}]
    # As data URIs: nothing has to be uploaded, and a batch file holds them too.
    for kind, data in request.images:
        url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        content.append({"type": "image_url", "image_url": {"url": url, "detail": cfg.image_detail}})
    body: dict[str, Any] = {
        "model": cfg.model,
        "messages": [{"role": "system", "content": texts.system}, {"role": "user", "content": content}],
        "temperature": cfg.temperature,
        cfg.max_tokens_field: cfg.max_tokens,
    }
    if structured:
        schema = {"name": "rationale", "strict": True, "schema": BLIND_SCHEMA if request.label is None else SCHEMA}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def expected_usage(cfg: ApiTeacherConfig, request: TeacherRequest) -> Usage:
    """Upper estimate of what a request costs: a token for three letters, `image_tokens` per frame, a full answer."""
    texts = prompt(request, structured=False)
    letters = len(texts.system) + len(texts.user)
    return Usage(input=letters // 3 + len(request.images) * cfg.image_tokens, output=cfg.max_tokens)


def price(cfg: ApiTeacherConfig, usage: Usage) -> float:
    """US dollars at the configured prices."""
    # The server counts cached tokens as input too.
    fresh = usage.input - usage.cached
    # Without a price of their own they are taken to cost the full one.
    cached = cfg.usd_per_million_cached or cfg.usd_per_million_input
    money = fresh * cfg.usd_per_million_input + usage.cached * cached + usage.output * cfg.usd_per_million_output
    return money / 1e6


def retry_after(headers: Any) -> float:
    """Seconds that a server asks to wait: retry-after-ms, or Retry-After as seconds or as a date; 0 without either."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if not value:
            return 0.0
        try:
            return max(0.0, float(value))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _usage(counters: Any) -> Usage:
    """Whatever is no number counts as none."""
    counters = counters if isinstance(counters, dict) else {}
    details = counters.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = (counters.get("prompt_tokens"), counters.get("completion_tokens"), cached)
    # Some servers leave counts out, others send null.
    known = [count if isinstance(count, int) and count > 0 else 0 for count in counts]
    return Usage(input=known[0], output=known[1], cached=known[2])


def _about_schema(error: Any) -> bool:
    """Whether a 400 or 422 complains about the schema rather than about the request."""
    text = str(error.message).lower()
    return error.status_code in (400, 422) and any(word in text for word in ("response_format", "json_schema"))
