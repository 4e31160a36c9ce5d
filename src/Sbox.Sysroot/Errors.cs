using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>Something about a sysroot is not as it was asked to be; the derived types say what, as properties.</summary>
/// <param name="message">One line: the path, then the finding.</param>
public abstract class SysrootException(string message) : Exception(message);

/// <summary>A directory is no sysroot, or one whose boot links or entries contradict each other.</summary>
/// <param name="path">The directory, file or link.</param>
/// <param name="finding">What is wrong there.</param>
public sealed class SysrootDamagedException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>The directory, file or link.</summary>
    public string Path { get; } = path;
}

/// <summary>Another process changes this sysroot.</summary>
/// <param name="path">The lock's path.</param>
public sealed class SysrootBusyException(string path) : SysrootException($"{path}: another process holds the lock and changes deployments")
{
    /// <summary>The lock's path.</summary>
    public string Path { get; } = path;
}

/// <summary>A name that cannot be a stateroot's.</summary>
/// <param name="name">The name.</param>
public sealed class StaterootNameException(string name)
    : SysrootException($"'{name}' cannot name a stateroot: letters, digits, dots, dashes and underscores can, beginning with a letter or digit")
{
    /// <summary>The name.</summary>
    public string Name { get; } = name;
}

/// <summary>No deployment fits what was asked for.</summary>
/// <param name="path">The sysroot.</param>
/// <param name="wanted">What was looked for.</param>
public sealed class NoSuchDeploymentException(string path, string wanted) : SysrootException($"{path}: {wanted}")
{
    /// <summary>The sysroot.</summary>
    public string Path { get; } = path;
}

/// <summary>The deployment that runs cannot be removed.</summary>
/// <param name="name">The deployment.</param>
public sealed class DeploymentBootedException(DeploymentName name) : SysrootException($"{name.Short}: this deployment is running now and cannot be removed")
{
    /// <summary>The deployment.</summary>
    public DeploymentName Name { get; } = name;
}

/// <summary>The branch leads to a commit that is older than the deployment it would replace.</summary>
/// <param name="refspec">The branch.</param>
/// <param name="current">When the current commit was made.</param>
/// <param name="offered">When the offered one was.</param>
public sealed class OlderVersionException(Refspec refspec, DateTimeOffset current, DateTimeOffset offered)
    : SysrootException($"{refspec}: its commit of {offered:yyyy-MM-dd HH:mm:ss} UTC is older than the current one of {current:yyyy-MM-dd HH:mm:ss} UTC")
{
    /// <summary>When the current commit was made.</summary>
    public DateTimeOffset Current { get; } = current;

    /// <summary>When the offered one was.</summary>
    public DateTimeOffset Offered { get; } = offered;
}

/// <summary>Something that takes room, and how much would be free without it.</summary>
/// <param name="What">A deployment or file.</param>
/// <param name="Bytes">What removing it frees.</param>
public sealed record Freeable(string What, long Bytes);

/// <summary>A file system has too little room for what is to be written. Nothing was written.</summary>
/// <param name="path">Where it is mounted.</param>
/// <param name="needed">Bytes that would be written.</param>
/// <param name="free">Bytes that are free.</param>
/// <param name="freeable">What would free how much.</param>
public sealed class NoSpaceException(string path, long needed, long free, IReadOnlyList<Freeable> freeable)
    : SysrootException($"{path}: {Mebibytes(needed)} MiB are needed, {Mebibytes(free)} MiB are free{Hint(freeable)}")
{
    /// <summary>Where it is mounted.</summary>
    public string Path { get; } = path;

    /// <summary>Bytes that would be written.</summary>
    public long Needed { get; } = needed;

    /// <summary>Bytes that are free.</summary>
    public long Free { get; } = free;

    /// <summary>What would free how much.</summary>
    public IReadOnlyList<Freeable> Freeable { get; } = freeable;

    private static string Hint(IReadOnlyList<Freeable> freeable) => freeable.Count == 0 ? ""
        : $"; removing {string.Join(" or ", freeable.Select(static each => $"{each.What} frees {Mebibytes(each.Bytes)} MiB"))}";

    private static string Mebibytes(long bytes) => (bytes / 1048576.0).ToString("0.0", System.Globalization.CultureInfo.InvariantCulture);
}
