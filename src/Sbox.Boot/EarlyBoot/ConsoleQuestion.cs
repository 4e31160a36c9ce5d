using System.Collections.Concurrent;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>Asks whoever sits at any of the machine's consoles. What is typed is seen: it is long, and read from paper.</summary>
/// <param name="dev">Where device nodes are.</param>
/// <param name="sys">Where sysfs is.</param>
internal sealed class ConsoleQuestion(string dev = "/dev", string sys = "/sys")
{
    private readonly BlockingCollection<string> lines = [];
    private List<FileStream>? consoles;

    /// <summary>Asks, and waits for a line for as long as it takes.</summary>
    /// <exception cref="NoRootException">There is no console.</exception>
    public string Ask(string question)
    {
        consoles ??= Open();
        if (consoles.Count == 0)
            throw new NoRootException($"{question} And there is no console to type at");
        foreach (FileStream console in consoles)
            console.Write(Encoding.UTF8.GetBytes($"\r\n{question}\r\n> "));
        return lines.Take();
    }

    private List<FileStream> Open()
    {
        var open = new List<FileStream>();
        using Dir devices = Dir.Open(dev);
        string active = File.Exists($"{sys}/class/tty/console/active") ? File.ReadAllText($"{sys}/class/tty/console/active") : "";
        foreach (string name in active.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (!devices.Exists(name))
                continue;
            SafeFileHandle handle = devices.OpenToWrite(name);
            var console = new FileStream(handle, FileAccess.ReadWrite, bufferSize: 0);
            open.Add(console);
            // They end with this program, which another takes the place of.
            new Thread(() => Listen(console)) { IsBackground = true }.Start();
        }

        return open;
    }

    private void Listen(FileStream console)
    {
        var buffer = new byte[1024];
        var line = new StringBuilder();
        for (int read; (read = console.Read(buffer)) > 0;)
        {
            foreach (char each in Encoding.UTF8.GetString(buffer, 0, read))
            {
                if (each is not ('\n' or '\r'))
                {
                    line.Append(each);
                }
                else if (line.Length > 0)
                {
                    lines.Add(line.ToString());
                    line.Clear();
                }
            }
        }
    }
}
