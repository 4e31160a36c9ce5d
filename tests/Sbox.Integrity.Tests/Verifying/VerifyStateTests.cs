using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

public sealed class VerifyStateTests
{
    private static readonly VerifyState State = new(Checksum.Of("list"u8), DateTimeOffset.FromUnixTimeSeconds(1_790_000_000), 1200, 34_567_890)
    {
        Again = [3, 17],
        Digests = new Dictionary<int, Checksum> { [5] = Checksum.Of("five"u8), [900] = Checksum.Of("nine hundred"u8) },
    };

    [Fact]
    public void A_state_reads_back_as_written()
    {
        VerifyState read = VerifyState.Parse(State.ToString())!;
        Assert.Equal((State.List, State.Begun, State.Done, State.Bytes), (read.List, read.Begun, read.Done, read.Bytes));
        Assert.Equal(State.Again, read.Again);
        Assert.Equal(State.Digests, read.Digests);
    }

    [Fact]
    public void A_state_that_was_cut_anywhere_is_none()
    {
        string text = State.ToString();
        for (int length = 0; length < text.Length; length++)
            Assert.Null(VerifyState.Parse(text[..length]));
    }

    [Theory]
    [InlineData("done 1200", "done -1")]
    [InlineData("again 3", "again x")]
    [InlineData("sbox-verify 1", "sbox-verify 2")]
    [InlineData("digest 5 ", "digest 5 zz")]
    [InlineData("begun 1790000000", "begun 99999999999999999")]
    public void A_state_that_says_anything_else_is_none(string good, string bad) =>
        Assert.Null(VerifyState.Parse(State.ToString().Replace(good, bad, StringComparison.Ordinal)));

    [Fact]
    public void It_is_believed_for_its_own_list_only_and_only_its_owner_may_read_it()
    {
        using var temp = new TempDir();
        string file = temp.Of("deep/down/state");
        Assert.Null(VerifyState.Load(file, State.List, 2000));
        State.Save(file);
        Assert.Equal("600\n", Judge.OnPath("stat").Run("-c", "%a", file));
        Assert.NotNull(VerifyState.Load(file, State.List, 2000));
        Assert.Null(VerifyState.Load(file, Checksum.Of("another list"u8), 2000));
        Assert.Null(VerifyState.Load(file, State.List, 1199));
        VerifyState.Forget(file);
        Assert.False(File.Exists(file));
    }
}
