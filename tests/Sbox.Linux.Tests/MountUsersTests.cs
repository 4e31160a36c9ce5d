using System.Diagnostics;

namespace Sbox.Linux.Tests;

public sealed class MountUsersTests
{
    // readlink(2) of such a directory says ENAMETOOLONG.
    [Fact]
    public void Whoever_is_where_no_path_is_long_enough_for_keeps_nobody_else_from_being_found()
    {
        string place = Directory.CreateTempSubdirectory("sbox-users-").FullName;
        using Process deep = Python(place, "for _ in range(25): os.mkdir('d' * 200); os.chdir('d' * 200)"), plain = Python(place, "pass");
        try
        {
            Assert.Equal("there", deep.StandardOutput.ReadLine());
            Assert.Equal("there", plain.StandardOutput.ReadLine());
            Assert.Contains(plain.Id, MountUsers.Of([place]).Select(static user => user.Process));
            Assert.Empty(MountUsers.Writers([place]));
        }
        finally
        {
            deep.Kill();
            plain.Kill();
            Process.Start("rm", ["-rf", place]).WaitForExit();
        }
    }

    private static Process Python(string place, string script) => Process.Start(new ProcessStartInfo(
        "python3", ["-c", $"import os\n{script}\nprint('there', flush=True)\ninput()"]) { WorkingDirectory = place, RedirectStandardInput = true, RedirectStandardOutput = true })!;
}
