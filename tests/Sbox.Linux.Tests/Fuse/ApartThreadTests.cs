namespace Sbox.Linux.Tests.Fuse;

public sealed class ApartThreadTests
{
    [Fact]
    public void It_has_no_descriptor_of_the_others_and_they_keep_theirs()
    {
        using Dir here = Dir.Open("/");
        int apart = ApartThread.Run(static () =>
        {
            using Dir opened = Dir.Open("/proc/thread-self/fd");
            string[] all = [.. opened.Entries().Select(static entry => entry.Name).Where(name => name is not ("0" or "1" or "2") && File.Exists($"/proc/thread-self/fd/{name}"))];
            return all.Length;
        });
        Assert.InRange(apart, 0, 3); // its own, and the runtime's memory
        Assert.NotEmpty(here.Entries());
    }

    [Fact]
    public void What_the_work_throws_whoever_waits_for_it_catches() =>
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(static () => ApartThread.Run(static () => Dir.Open("/nowhere").Dispose())).Errno);

    [Fact]
    public void What_is_made_when_nobody_waits_any_more_is_taken_back()
    {
        using var stop = new CancellationTokenSource();
        using var goOn = new ManualResetEventSlim();
        using var takenBack = new ManualResetEventSlim();
        int made = 0;
        Assert.ThrowsAny<OperationCanceledException>(() => ApartThread.Run(
            () =>
            {
                stop.Cancel();
                goOn.Wait(TestContext.Current.CancellationToken);
                return 5;
            },
            late =>
            {
                made = late;
                takenBack.Set();
            },
            stop.Token));
        goOn.Set();
        Assert.True(takenBack.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(5, made);
    }
}
