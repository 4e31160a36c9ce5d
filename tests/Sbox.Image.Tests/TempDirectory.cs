namespace Sbox.Image.Tests;

/// <summary>A directory for one test, gone after it.</summary>
internal sealed class TempDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("sbox-image-").FullName;

    public string Of(string name) => $"{Path}/{name}";

    public string Write(string name, string text)
    {
        string path = Of(name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }

    public void Dispose() => WorkDirectory.Remove(Path);
}
