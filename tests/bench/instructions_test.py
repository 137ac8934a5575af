"""The gate can fail. Run by scripts/check bench."""

import unittest

from instructions import compare


class Compare(unittest.TestCase):
    def verdict(self, recorded, counted):
        lines, failed = compare(recorded, counted)
        self.assertEqual(len(lines), len({**recorded, **counted}))
        return failed

    def test_a_tenth_may_grow(self):
        self.assertFalse(self.verdict({"a": 1000, "b": 5}, {"a": 1100, "b": 5}))
        self.assertTrue(self.verdict({"a": 1000, "b": 5}, {"a": 1101, "b": 5}))

    def test_fewer_is_no_failure_and_is_told(self):
        self.assertFalse(self.verdict({"a": 1000}, {"a": 500}))
        self.assertIn("worth recording", compare({"a": 1000}, {"a": 500})[0][0])

    def test_what_is_not_recorded_or_gone_fails(self):
        self.assertTrue(self.verdict({}, {"a": 1000}))
        self.assertTrue(self.verdict({"a": 1000}, {}))


if __name__ == "__main__":
    unittest.main()
