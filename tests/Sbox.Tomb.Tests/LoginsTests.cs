using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests;

/// <summary>When the last login has ended.</summary>
public sealed class LoginsTests : IDisposable
{
    private readonly string groups = Directory.CreateTempSubdirectory("sbox-logins-").FullName;

    public void Dispose() => Directory.Delete(groups, recursive: true);

    [Fact]
    public void An_account_is_logged_in_while_one_of_its_sessions_runs_something()
    {
        Assert.False(Logins.Any(1000, groups));
        Group("session-3.scope", "");
        Group("user@1000.service", "17\n");
        Assert.False(Logins.Any(1000, groups));
        Group("session-4.scope", "18\n");
        Assert.True(Logins.Any(1000, groups));
        Assert.False(Logins.Any(1001, groups));
    }

    private void Group(string name, string processes)
    {
        string at = Directory.CreateDirectory($"{groups}/user.slice/user-1000.slice/{name}").FullName;
        File.WriteAllText($"{at}/cgroup.procs", processes);
    }
}
