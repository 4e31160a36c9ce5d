using System.Diagnostics;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>What came of one large file by a pull that was killed, or gave up, is not fetched again by the next.</summary>
public sealed class GoingOnTests : IDisposable
{
    private const int Size = 8 << 20;

    // What the server has on its way to nobody.
    private const int OnItsWay = 1 << 20;
    private readonly Scratch scratch = new();
    private readonly Repository source, ours;
    private readonly Checksum commit;

    public GoingOnTests()
    {
        source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Directory.CreateDirectory(scratch["tree"]);
        File.WriteAllBytes(scratch["tree/large"], RandomNumberGenerator.GetBytes(Size));
        commit = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] });
    }

    public void Dispose()
    {
        source.Dispose();
        ours.Dispose();
        scratch.Dispose();
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public async Task After_a_kill_the_rest_of_a_large_file_is_fetched(bool isDelta, bool damage)
    {
        using RangeServer server = Serve(isDelta, static (_, _) => null);
        using (Process pull = Victim.Pull(ours, server.Url))
        {
            long begun = Stopwatch.GetTimestamp();
            while (Noted() < Size / 2)
            {
                Assert.False(pull.HasExited, "the pull ended by itself");
                Assert.True(Stopwatch.GetElapsedTime(begun) < TimeSpan.FromMinutes(3), "it never came so far");
                await Task.Delay(20);
            }

            pull.Kill();
            pull.WaitForExit();
        }

        string partial = Assert.Single(Partial());
        if (damage)
        {
            using FileStream file = File.OpenWrite(partial);
            file.Position = 4096;
            file.WriteByte(0);
            file.WriteByte(0);
        }

        await Task.Delay(200); // what the server still sends to nobody
        long before = server.Bytes;
        await Finish(server, isDelta);
        Assert.InRange(server.Bytes - before, damage ? Size : 1, damage ? 2 * Size : (Size / 2) + OnItsWay);
    }

    [Fact]
    public async Task After_a_pull_that_gave_up_too()
    {
        int answers = 0;
        using RangeServer server = Serve(isDelta: false, (path, size) => size > 100_000 && ++answers < 4 ? size / 4 : size > 100_000 && answers < 12 ? 0 : null);
        await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 1 }));
        long before = server.Bytes, noted = Noted();
        Assert.True(noted > Size / 4, $"{noted}");
        answers = 12;
        await Finish(server, isDelta: false);
        Assert.InRange(server.Bytes - before, 1, Size - noted + OnItsWay);
    }

    [Fact]
    public async Task What_another_file_has_taken_the_place_of_is_fetched_from_its_beginning()
    {
        byte[]? instead = null;
        source.MakeDelta(new DeltaName(null, commit), new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        string part = new DeltaName(null, commit).Part(1); // the first one has what is small
        using var server = new RangeServer(source.Path) { PerSecond = 4_000_000, Cut = (path, size) => path == part && instead is null ? Less(size) : null, Instead = path => path == part ? instead : null };
        await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 0, Timeout = TimeSpan.FromSeconds(20) }));
        Assert.Single(Partial());
        long before = server.Bytes;
        instead = File.ReadAllBytes(Path.Combine(source.Path, part)); // another by its tag
        await Finish(server, isDelta: true);
        Assert.InRange(server.Bytes - before, Size, 2 * Size);
    }

    [Fact]
    public async Task An_archive_keeps_nothing_of_what_came_in_part()
    {
        using Repository archive = Repository.Create(scratch["archive"], RepositoryMode.Archive);
        using RangeServer server = Serve(isDelta: false, static (_, size) => size > 100_000 ? Less(size) : null);
        await Assert.ThrowsAsync<PullException>(() => archive.Pull(new PullOptions { Url = server.Url, Refs = ["main"], Retries = 0 }));
        Assert.Empty(Directory.EnumerateFiles($"{archive.Path}/tmp", "partial-*", new EnumerationOptions { RecurseSubdirectories = true }));
    }

    [Fact]
    public void A_note_that_cannot_be_read_is_none()
    {
        using Linux.Dir dir = Linux.Dir.Open(scratch.Root);
        foreach (string note in (string[])["", "1\n2\n3\n\"tag\"\nnoon\n", "5\n9\n\n\"tag\"\n\n4-2", "x\n\n\n\n\n", "99\n\n\n\"tag\"\n\n"])
        {
            Scratch.Write(dir, "partial", "content"u8.ToArray());
            Linux.Xattrs.Set(dir, "partial", new Linux.Xattr("user.sbox.partial", System.Text.Encoding.UTF8.GetBytes(note)));
            Assert.Null(PartialNote.TryOpen(dir, "partial"));
            Assert.False(dir.Exists("partial"));
        }

        var right = new PartialNote(3, 7, null, new Validators("\"tag\"", DateTimeOffset.UnixEpoch), [(4, 5)]);
        Scratch.Write(dir, "partial", "content"u8.ToArray());
        using (Microsoft.Win32.SafeHandles.SafeFileHandle file = dir.OpenToWrite("partial"))
            Assert.True(right.TryWriteTo(file, "partial"));
        (Microsoft.Win32.SafeHandles.SafeFileHandle again, PartialNote read) = PartialNote.TryOpen(dir, "partial")!.Value;
        again.Dispose();
        Assert.Equal($"{right}", $"{read}");
    }

    // Half of what is asked for, and in the end nothing more.
    private static int Less(int size) => size > 600_000 ? size / 2 : 0;

    private RangeServer Serve(bool isDelta, Func<string, int, int?> cut)
    {
        if (isDelta)
            source.MakeDelta(new DeltaName(null, commit), new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        return new RangeServer(source.Path) { PerSecond = 4_000_000, Cut = cut };
    }

    private async Task Finish(RangeServer server, bool isDelta)
    {
        PullResult result = await ours.Pull(new PullOptions { Url = server.Url, Refs = ["main"] });
        Assert.Equal(isDelta ? 1 : 0, result.Deltas.Parts);
        Assert.Equal(commit, ours.Resolve("main"));
        Assert.Empty(Partial());
        Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
    }

    // Bytes that the next pull need not fetch.
    private long Noted()
    {
        if (Partial() is not [var partial])
            return 0;
        using Linux.Dir dir = Linux.Dir.Open(Path.GetDirectoryName(partial)!);
        if (PartialNote.TryOpen(dir, Path.GetFileName(partial)) is not var (file, note))
            return 0;
        file.Dispose();
        return note.Length + note.Ahead.Sum(static piece => piece.End - piece.Begin);
    }

    private string[] Partial() => [.. Directory.EnumerateFiles($"{ours.Path}/tmp", "partial-*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })];
}
