using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class KernelTickTests
{
    [Theory]
    [InlineData(-1, true)]
    [InlineData(0, false)]
    [InlineData(3600, true)] // a clock that was ahead and was set back
    public void Changes_show_after_what_is_older_than_a_tick_and_after_what_lies_ahead_of_the_clock(int seconds, bool expected)
    {
        DateTimeOffset now = DateTimeOffset.UtcNow;
        Assert.Equal(expected, KernelTick.HasPassed((now.ToUnixTimeMilliseconds() / 1000.0) + seconds, now));
    }
}
