from gold.study import main

main()
