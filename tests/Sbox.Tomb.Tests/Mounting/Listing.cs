using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>All that programs can see of a directory, as text. Other processes look: this one may be the file system.</summary>
internal static class Listing
{
    // A directory's size is the file system's own business, and so is a count of links; names that are one file are compared as groups.
    private const string Look = """
        find . \( -type d -printf '%P|%y|%m|%U|%G|%T@\n' \) -o -printf '%P|%y|%m|%U|%G|%s|%T@|%l\n' | sort
        find . -type f -print0 | sort -z | xargs -0r sha256sum
        find . -type f -links +1 -printf '%i %P\n' | sort | awk '{ i = $1; $1 = ""; n[i] = n[i] " " $0; c[i]++ } END { for (i in n) if (c[i] > 1) print n[i] }' | sort
        find . \( -type b -o -type c \) -print0 | xargs -0r stat -c '%n %t:%T'
        find . -print0 | sort -z | xargs -0r getfattr -h -d -m '^(user|system|security)\.' -e hex 2>/dev/null
        """;

    public static string Of(string path) => string.Join('\n', Sh(path, Look));

    public static IReadOnlyList<string> Sh(string directory, string script, int seconds = 300)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        var lines = new List<string>();
        ChildResult result = ChildProcess.Run(new ChildCommand("bash", ["-c", script]) { WorkingDirectory = directory }, lines.Add, limit.Token);
        return result.ExitCode == 0 ? lines : [.. lines, $"exit {result.ExitCode}"];
    }
}
