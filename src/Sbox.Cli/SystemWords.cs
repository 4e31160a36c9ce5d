namespace Sbox.Cli;

/// <summary>
/// What .NET's own exceptions say of files, in this program's words. A directory where a file was wanted is to them a denied access, and a file that is missing has no way out.
/// </summary>
internal static class SystemWords
{
    /// <summary>What is wrong, with the path first.</summary>
    public static string Of(Exception failure) => failure switch
    {
        FileNotFoundException { FileName: { } file } => $"{file}: there is no such file",
        DirectoryNotFoundException when Quoted(failure.Message) is { } path => $"{path}: there is no such file or directory",
        UnauthorizedAccessException when Quoted(failure.Message) is { } path => IsDirectory(path) ? $"{path}: it is a directory" : $"{path}: this user may not open it",
        // The console's streams have no path: descriptor 1 is closed, or open for reading alone.
        UnauthorizedAccessException => "what was to be said could not be written: standard output is closed",
        _ => failure.Message,
    };

    /// <summary>The way out; null where there is none.</summary>
    public static string? WayOut(Exception failure) => failure switch
    {
        FileNotFoundException or DirectoryNotFoundException => "Look at the name again: one that does not begin with / is looked for below the directory that you are in",
        UnauthorizedAccessException when Quoted(failure.Message) is { } path => IsDirectory(path) ? "Name a file" : "This needs its owner, or root: sudo sbox ...",
        UnauthorizedAccessException => "Send it somewhere: >FILE, or >/dev/null",
        _ => null,
    };

    // "Could not find a part of the path '/a/b'.", "Access to the path '/a' is denied."
    private static string? Quoted(string message)
    {
        int first = message.IndexOf('\'', StringComparison.Ordinal), last = message.LastIndexOf('\'');
        return last > first ? message[(first + 1)..last] : null;
    }

    // One that this user may look into; another is refused as a file is.
    private static bool IsDirectory(string path)
    {
        try
        {
            if (!Directory.Exists(path))
                return false;
            _ = Directory.EnumerateFileSystemEntries(path).Any();
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }
}
