"""What the check of DL7 finds in plugins that promise of their triggers what their vendor does not keep."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_whose_triggers_are_sent_again_after_a_kill(tmp_path):
    said = await caught("DL7", tmp_path, 'trigger_repeat = "safe"')
    assert "a trigger that the vendor had acted on when the hub was killed" in said
    assert "does not hold it, or not once" in said


async def test_a_plugin_that_takes_the_time_after_a_kill_for_an_answer(tmp_path):
    body = """
trigger_repeat = "check"

async def was_sent(self, event, ctx):
    return True
"""
    said = await caught("DL7", tmp_path, body)
    assert "a trigger that the vendor had not acted on when the hub was killed" in said
