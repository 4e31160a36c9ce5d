using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>Who is logged in, by the control groups that systemd-logind makes: one scope a session, below the account's slice.</summary>
internal static class Logins
{
    /// <summary>Whether a session of the account has a program that runs. False where no logind keeps account.</summary>
    /// <param name="account">The account's number.</param>
    /// <param name="groups">Where the control groups are.</param>
    public static bool Any(uint account, string groups = "/sys/fs/cgroup")
    {
        string slice = $"{groups}/user.slice/user-{account}.slice";
        if (!Directory.Exists(slice))
            return false;
        try
        {
            using Dir sessions = Dir.Open(slice);
            return sessions.Entries().Any(entry => entry.Name.StartsWith("session-", StringComparison.Ordinal) && entry.Name.EndsWith(".scope", StringComparison.Ordinal)
                && sessions.TryReadAll($"{entry.Name}/cgroup.procs") is { Length: > 0 });
        }
        catch (LinuxException gone) when (gone.Errno is Errno.ENOENT or Errno.ENODEV)
        {
            return true; // a session ended while it was looked at: it is asked again soon
        }
    }
}
