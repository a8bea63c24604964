"""sentence-transformers and scikit-learn, as their documentation puts them together (sbert.net/docs/sentence_transformer/usage).

Every text is encoded once (`SentenceTransformer.encode`, which sorts by length), and a LogisticRegression is fitted for each of five
strengths of its penalty; the best on the validation texts predicts the test texts.
"""

from __future__ import annotations

from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

from benchmarks.peers.answer import Clock, answer, parser
from benchmarks.peers.given_texts import table

STRENGTHS = (0.1, 1, 10, 100, 1000)


def main() -> None:
    """Encode, fit, answer."""
    clock, options = Clock(), parser(__doc__, "documented").parse_args()
    clock.mark("imports")
    parts, _ = table(options.data)
    encoder = SentenceTransformer(str(options.weights), device="cpu")
    clock.mark("load")
    features = {
        part: encoder.encode(texts, batch_size=options.batch_size, show_progress_bar=False) for part, (texts, _) in parts.items()
    }
    clock.mark("features")
    fitted = [LogisticRegression(C=c, max_iter=1000).fit(features["train"], parts["train"][1]) for c in STRENGTHS]
    best = max(fitted, key=lambda one: one.score(features["val"], parts["val"][1]))
    clock.mark("fit")
    answer(best.predict(features["test"]).tolist(), parts["test"][1], clock, f"C {best.C:g}, of {len(STRENGTHS)}")


if __name__ == "__main__":
    main()
