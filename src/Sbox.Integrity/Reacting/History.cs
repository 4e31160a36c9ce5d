namespace Sbox.Integrity;

/// <summary>All alarms of this machine, one JSON object a line; the last megabyte or two.</summary>
public sealed class History(string file)
{
    private const long KeptBytes = 1024 * 1024;

    /// <summary>The file.</summary>
    public string File { get; } = file;

    /// <summary>Adds an alarm.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void Add(string line)
    {
        using (var stream = new FileStream(File, FileMode.Append, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0))
        {
            stream.Write(System.Text.Encoding.UTF8.GetBytes(line + "\n"));
            if (stream.Length < KeptBytes)
                return;
        }

        System.IO.File.Move(File, $"{File}.old", overwrite: true);
    }

    /// <summary>All that is kept, oldest first.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public IEnumerable<string> Lines() => new[] { $"{File}.old", File }.Where(System.IO.File.Exists).SelectMany(System.IO.File.ReadLines).Where(static line => line.Length > 0);
}
