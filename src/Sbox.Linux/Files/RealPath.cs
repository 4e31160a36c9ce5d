namespace Sbox.Linux;

/// <summary>Paths without symbolic links, as the kernel's table of mounts and /proc have them.</summary>
public static class RealPath
{
    private const int LinksAtMost = 40; // as the kernel's own limit

    /// <summary>Follows every symbolic link of a path, the last name's too. Nothing is opened, so that no automount is set off.</summary>
    /// <param name="path">An absolute path; what of it is not there stays as it is.</param>
    /// <exception cref="LinuxException">ELOOP: the links lead in a circle.</exception>
    public static string Of(string path)
    {
        var ahead = new Stack<string>(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        string done = "";
        for (int links = 0; ahead.TryPop(out string? name);)
        {
            if (name == ".")
                continue;
            if (name == "..")
            {
                done = done.Length > 0 ? done[..done.LastIndexOf('/')] : "";
                continue;
            }

            if (new FileInfo($"{done}/{name}").LinkTarget is not { } target)
            {
                done = $"{done}/{name}";
                continue;
            }

            if (++links > LinksAtMost)
                throw new LinuxException(Errno.ELOOP, "readlink", path);
            if (target.StartsWith('/'))
                done = "";
            foreach (string part in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
                ahead.Push(part);
        }

        return done.Length > 0 ? done : "/";
    }
}
